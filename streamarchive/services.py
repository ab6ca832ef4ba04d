"""Opening what a process works with. The only importer of back ends: URLs choose them here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from streamarchive.catalogue import schema
from streamarchive.catalogue.database import Database
from streamarchive.errors import ModelUnavailableError, TranscriptionError
from streamarchive.protocols import Diarizer, MediaStore, ModelInfo, SearchIndex, Transcriber
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

    @property
    def translation(self) -> Transcriber:
        """For passes into English."""
        return self._get(self._settings.translate_model or self._settings.model)

    @property
    def diarizer(self) -> Diarizer | None:
        """Who tells speakers apart by their voices; None where no models are set."""
        from streamarchive.transcription.diarizer import SherpaDiarizer

        models = self._settings.speaker_segmentation, self._settings.speaker_embedding
        return SherpaDiarizer(*map(Path, models)) if any(models) else None

    async def load_live(self) -> ModelInfo:
        """Load the model for what is on air. Raises `ModelUnavailableError`, naming the setting to change."""
        return await _load(self.live, "STREAMARCHIVE_LIVE_MODEL" if self._settings.live_model else "")

    async def load_translation(self) -> ModelInfo:
        """The same for passes into English. Raises `TranscriptionError` for a model that cannot translate."""
        setting = "STREAMARCHIVE_TRANSLATE_MODEL"
        info = await _load(self.translation, setting if self._settings.translate_model else "")
        if "translate" not in info.capabilities:
            raise TranscriptionError(
                f"the model {info.name} cannot translate: "
                f"set {setting} to one that can, such as medium or large-v3"
            )
        return info

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


async def _load(engine: Transcriber, setting: str) -> ModelInfo:
    try:
        return await engine.load()
    except ModelUnavailableError as error:
        if not setting:
            raise
        raise ModelUnavailableError(str(error).replace("STREAMARCHIVE_MODEL", setting)) from error


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
    store = open_store(settings.media_url, settings.fetched)
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
    models = {
        "MODEL": settings.model,
        "LIVE_MODEL": settings.live_model,
        "TRANSLATE_MODEL": settings.translate_model,
    }
    for name, model in models.items():
        is_path = model.endswith(".pt") or "/" in model
        converted = settings.engine == "faster" and (Path(model) / "model.bin").is_file()
        if is_path and not Path(model).is_file() and not converted:
            raise ModelUnavailableError(
                f"there is no model {model}; "
                f"set STREAMARCHIVE_{name} to a checkpoint or to a Whisper name such as turbo"
            )
