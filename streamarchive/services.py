"""Opening what a process works with. The only importer of back ends: URLs choose them here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from streamarchive.catalogue import schema
from streamarchive.catalogue.database import Database
from streamarchive.errors import ModelUnavailableError
from streamarchive.protocols import MediaStore, ModelInfo, SearchIndex, Transcriber
from streamarchive.settings import Settings


class Engines:
    """The engines of this process, each started when it is first used; passes with one model share one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Transcriber] = {}

    @property
    def final(self) -> Transcriber:
        """For passes over what is recorded."""
        return self._get(self._settings.model)

    @property
    def live(self) -> Transcriber:
        """For what is on air."""
        return self._get(self._settings.live_model or self._settings.model)

    async def load_live(self) -> ModelInfo:
        """Load the model for what is on air. Raises `ModelUnavailableError`, naming the setting to change."""
        try:
            return await self.live.load()
        except ModelUnavailableError as error:
            if not self._settings.live_model:
                raise
            sentence = str(error).replace("STREAMARCHIVE_MODEL", "STREAMARCHIVE_LIVE_MODEL")
            raise ModelUnavailableError(sentence) from error

    def _get(self, model: str) -> Transcriber:
        from streamarchive.transcription.engine_process import EngineProcess

        if model not in self._made:
            engine = EngineProcess(model, engine=self._settings.engine, device=self._settings.device)
            self._made[model] = engine
        return self._made[model]

    async def close(self) -> None:
        """End their processes."""
        for engine in self._made.values():
            await engine.close()


@dataclass(frozen=True, slots=True)
class Services:
    """What pages and workers work with."""

    settings: Settings
    database: Database
    search: SearchIndex
    store: MediaStore
    engines: Engines


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Bring the catalogue to this version's schema, open everything, and close it at the end."""
    from streamarchive.media.stores import open_store
    from streamarchive.search import open_index

    await asyncio.to_thread(schema.migrate, settings.database_url)
    database = Database(settings.database_url)
    store = open_store(settings.media_url)
    search = open_index(settings.search_url, api_key=settings.search_api_key, ca=settings.search_ca)
    engines = Engines(settings)
    try:
        yield Services(settings, database, search, store, engines)
    finally:
        await engines.close()
        await search.close()
        await store.close()
        await database.close()


def check_model(settings: Settings) -> None:
    """Raise `ModelUnavailableError` if a checkpoint is named by a path and is not there."""
    for name, model in (("MODEL", settings.model), ("LIVE_MODEL", settings.live_model)):
        is_path = model.endswith(".pt") or "/" in model
        converted = settings.engine == "faster" and (Path(model) / "model.bin").is_file()
        if is_path and not Path(model).is_file() and not converted:
            raise ModelUnavailableError(
                f"there is no model {model}; "
                f"set STREAMARCHIVE_{name} to a checkpoint or to a Whisper name such as turbo"
            )
