"""What editors do to lines: written once and for all, beside machine runs and other editors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from streamarchive import captions
from streamarchive.catalogue import (
    changes,
    corrections,
    interviews,
    outbox,
    recordings,
    speakers,
    suggestions,
    tables,
    tracks,
    transcripts,
)
from streamarchive.catalogue.corrections import StaleCueError
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.people import Guest
from streamarchive.catalogue.revisions import RevisionKind
from streamarchive.catalogue.suggestions import Suggestion
from streamarchive.errors import EditError, NotFoundError
from streamarchive.models import Cue, CueDraft, RecordingId, Role, RunStage, Word


def heard(start_ms: int, *words: str, probability: float = 0.9) -> CueDraft:
    """A machine's line: each word lasts 400 ms, 100 ms apart."""
    said = tuple(Word(w, start_ms + 500 * n, start_ms + 500 * n + 400, probability) for n, w in enumerate(words))
    return CueDraft(start_ms, said[-1].end_ms, " ".join(words), "en", said)


LIVE = (
    heard(0, "Welcome", "to", "Bay", "Jing."),
    heard(3000, "The", "car", "sees", "you."),
    heard(6000, "It", "drives", "alone."),
)
FINAL = (
    heard(50, "Welcome", "to", "Bay", "Jing."),
    CueDraft(
        3040,
        6920,
        "A car sees you. It dives.",
        "en",
        heard(3040, "A", "car", "sees", "you.").words + heard(6020, "It", "dives.").words,
    ),
)


class Desk:
    """An interview with a recording, what machines hear of it, and an editor."""

    def __init__(self, database: Database, recording_id: RecordingId, editor: int) -> None:
        self.database, self.recording_id, self.editor = database, recording_id, editor

    async def hear(self, lines: Sequence[CueDraft], stage: RunStage = RunStage.FINAL, name: str = "tiny") -> None:
        async with self.database.write() as tx:
            run = await transcripts.begin_run(
                tx, self.recording_id, stage, engine="test", model=name, model_identity=name
            )
            await transcripts.append(tx, run, lines, 60_000)
        if stage is RunStage.FINAL:
            laid = await transcripts.lay(self.database, run)
            async with self.database.write() as tx:
                await transcripts.adopt(tx, run, laid)

    async def lines(self) -> list[Cue]:
        async with self.database.read() as connection:
            return await transcripts.of_recording(connection, self.recording_id)

    async def line(self, text: str) -> Cue:
        return next(cue for cue in await self.lines() if text in cue.text)

    async def texts(self) -> list[str]:
        return [cue.text for cue in await self.lines()]

    async def edit(self, cue: Cue, text: str) -> corrections.Correction:
        async with self.database.write() as tx:
            return await corrections.edit(tx, cue.id, cue.revision, text, self.editor)

    async def delete(self, cue: Cue) -> corrections.Correction:
        async with self.database.write() as tx:
            return await corrections.delete(tx, cue.id, cue.revision, self.editor)

    async def restore(self, cue: Cue, revision_id: int | None) -> corrections.Correction:
        assert revision_id is not None
        async with self.database.write() as tx:
            return await corrections.restore(tx, cue.id, cue.revision, revision_id, self.editor)


@pytest.fixture
async def desk(database: Database) -> Desk:
    async with database.write() as tx:
        guests = [Guest({"en": "Lei Jun", "zh": "雷军"}, {}), Guest({"en": "Ada"}, {})]
        interview_id = await interviews.create(tx, titles={"en": "Car Talk"}, guests=guests)
        recording_id = await recordings.create_uploaded(
            tx, interview_id, duration_ms=60_000, has_video=False, damage=None
        )
        made = await tx.execute(
            tables.user.insert()
            .values(name="Mei", role=Role.EDITOR, password_hash="", created_at=datetime.now(UTC))
            .returning(tables.user.c.id)
        )
        editor = made.scalar_one()
    desk = Desk(database, recording_id, editor)
    await desk.hear(LIVE, RunStage.LIVE)
    return desk


async def test_an_edit_is_written_with_its_history_and_told_to_search_and_pages(desk: Desk) -> None:
    cue = await desk.line("Jing")
    async with desk.database.write() as tx:
        await outbox.remove(tx, await outbox.oldest(tx))
        seen = await changes.newest_id(tx)
    done = await desk.edit(cue, "Welcome to Beijing.")
    [now] = done.cues
    assert (now.id, now.text, now.revision, now.version, now.human) == (cue.id, "Welcome to Beijing.", 1, 2, True)
    assert now.words[:2] == cue.words[:2]
    assert [word.locked for word in now.words] == [False, False, True]
    async with desk.database.read() as connection:
        assert (await outbox.oldest(connection)).cue_ids == (cue.id,)
        [told] = [change.payload for change in await changes.after(connection, seen) if change.kind == "cues"]
        [step] = await corrections.history(connection, cue.id)
    assert told == {"added": [cue.id], "removed": []}
    assert (step.kind, step.user, step.id) == (RevisionKind.EDIT, "Mei", done.revision_id)
    assert (step.before[0].line.text, step.after[0].line.text) == (cue.text, "Welcome to Beijing.")


async def test_the_same_text_changes_nothing(desk: Desk) -> None:
    cue = await desk.line("Jing")
    assert await desk.edit(cue, f"  {cue.text}\n") == corrections.Correction(None, (cue,))


async def test_of_two_editors_of_a_line_one_is_told_and_shown_the_text_of_the_other(desk: Desk) -> None:
    cue = await desk.line("Jing")
    answers = await asyncio.gather(
        desk.edit(cue, "Welcome to Beijing."), desk.edit(cue, "Welcome to Nanjing."), return_exceptions=True
    )
    [refused] = [answer for answer in answers if isinstance(answer, StaleCueError)]
    [done] = [answer for answer in answers if isinstance(answer, corrections.Correction)]
    assert refused.current == done.cues[0]
    again = await desk.edit(refused.current, "Welcome to Beijing and Nanjing.")
    async with desk.database.read() as connection:
        steps = await corrections.history(connection, cue.id)
    assert [step.after[0].line.text for step in steps] == [again.cues[0].text, done.cues[0].text]


async def test_many_editors_at_once_lose_no_acknowledged_text(desk: Desk) -> None:
    cue = await desk.line("Jing")

    async def insist(number: int) -> None:
        now = cue
        while True:
            try:
                await desk.edit(now, f"{now.text} w{number}")
            except StaleCueError as stale:
                now = stale.current or cue
            else:
                return

    await asyncio.gather(*(insist(number) for number in range(8)))
    assert set((await desk.line("Jing")).text.split()) >= {f"w{number}" for number in range(8)}
    async with desk.database.read() as connection:
        assert len(await corrections.history(connection, cue.id)) == 8


async def test_edits_made_while_a_final_pass_lands_are_all_there(desk: Desk) -> None:
    before = await desk.lines()
    typed = [cue.text.replace(".", f" w{number}.") for number, cue in enumerate(before)]
    await asyncio.gather(
        desk.hear(FINAL), *(desk.edit(cue, text) for cue, text in zip(before, typed, strict=True))
    )
    said = " ".join(await desk.texts())
    assert [word in said for word in ("w0", "w1", "w2")] == [True, True, True]
    await desk.hear(FINAL, name="another")
    assert " ".join(await desk.texts()) == said


async def test_an_edit_between_computing_a_pass_and_writing_it_is_kept(desk: Desk) -> None:
    async with desk.database.write() as tx:
        run = await transcripts.begin_run(
            tx, desk.recording_id, RunStage.FINAL, engine="test", model="tiny", model_identity="tiny"
        )
        await transcripts.append(tx, run, FINAL, 60_000)
    laid = await transcripts.lay(desk.database, run)
    await desk.edit(await desk.line("It drives"), "It drives itself.")
    async with desk.database.write() as tx:
        await transcripts.adopt(tx, run, laid)
    assert (await desk.texts())[-1] == "It dives itself."


async def test_splitting_and_merging_keep_all_text_and_times(desk: Desk) -> None:
    cue = await desk.line("The car")
    async with desk.database.write() as tx:
        done = await corrections.split(tx, cue.id, cue.revision, len("The car "), desk.editor)
    first, second = done.cues
    assert (first.id, first.text, first.end_ms) == (cue.id, "The car", 3900)
    assert (second.text, second.start_ms, second.words) == ("sees you.", 4000, cue.words[2:])
    async with desk.database.write() as tx:
        merged = await corrections.merge(tx, second.id, second.revision, "previous", desk.editor)
    assert merged.removed == (second.id,)
    assert (merged.cues[0].id, merged.cues[0].text, merged.cues[0].words) == (cue.id, cue.text, cue.words)


async def test_merging_needs_a_neighbour(desk: Desk) -> None:
    cue = await desk.line("Welcome")
    with pytest.raises(EditError, match="no previous line"):
        async with desk.database.write() as tx:
            await corrections.merge(tx, cue.id, cue.revision, "previous", desk.editor)


async def test_the_final_pass_improves_the_words_around_and_never_those_of_a_person(desk: Desk) -> None:
    await desk.edit(await desk.line("Jing"), "Welcome to Beijing.")
    await desk.edit(await desk.line("It drives"), "It drives itself.")
    await desk.hear(FINAL)
    assert await desk.texts() == ["Welcome to Beijing.", "A car sees you.", "It dives itself."]
    async with desk.database.read() as connection:
        newest = (await corrections.history(connection, (await desk.line("itself")).id))[0]
    assert (newest.kind, newest.user) == (RevisionKind.RUN, None)


async def test_what_was_taken_out_stays_out(desk: Desk) -> None:
    await desk.delete(await desk.line("The car"))
    await desk.edit(await desk.line("Welcome"), "Welcome to Jing.")
    for number in range(3):
        await desk.hear(FINAL, name=f"model {number}")
        assert await desk.texts() == ["Welcome to Jing.", "It dives."]


async def test_a_line_marked_as_read_stays_whole(desk: Desk) -> None:
    cue = await desk.line("The car")
    async with desk.database.write() as tx:
        await corrections.mark_read(tx, cue.id, cue.revision, desk.editor)
    await desk.hear(FINAL)
    now = await desk.line("The car")
    assert (now.id, now.text, now.words, now.read) == (cue.id, cue.text, cue.words, True)
    assert await desk.texts() == ["Welcome to Bay Jing.", "The car sees you.", "It dives."]


async def test_speaker_and_times_given_by_a_person_stay(desk: Desk) -> None:
    cue = await desk.line("It drives")
    async with desk.database.write() as tx:
        done = await corrections.set_speaker(tx, cue.id, cue.revision, " Ada ", desk.editor)
        done = await corrections.retime(tx, cue.id, done.cues[0].revision, 5400, 7600, desk.editor)
    await desk.hear((heard(0, "Welcome"), heard(3000, "You.", "It", "dives", "on.")))
    now = next(cue_now for cue_now in await desk.lines() if cue_now.id == cue.id)
    assert (now.speaker, now.start_ms, now.end_ms) == ("Ada", 5400, 7600)
    assert done.cues[0].words == cue.words


async def test_an_inserted_line_is_there_after_every_run_and_live_lines_go_around_it(desk: Desk) -> None:
    async with desk.database.write() as tx:
        await corrections.insert(
            tx, desk.recording_id, 8000, 9000, "(Laughter)", "en", desk.editor, speaker="雷军"
        )
    await desk.hear((heard(7600, "So", "what", "ever", "next"),), RunStage.LIVE)
    assert (await desk.texts())[3:] == ["So", "(Laughter)", "next"]
    await desk.hear(FINAL)
    laughter = await desk.line("Laughter")
    assert (laughter.start_ms, laughter.end_ms, laughter.speaker) == (8000, 9000, "雷军")


async def test_a_save_lands_on_the_line_that_the_final_pass_has_put_there(desk: Desk) -> None:
    """The editor was typing while the pass replaced the line."""
    cue = await desk.line("It drives")
    await desk.hear(FINAL)
    done = await desk.edit(cue, "It drives itself.")
    assert done.cues[0].text == "A car sees you. It dives itself."
    assert "itself." in [word.text for word in done.cues[0].words if word.locked]
    await desk.hear(FINAL, name="another")
    assert "itself." in (await desk.texts())[1]


async def test_a_save_lands_beside_what_a_run_has_improved_meanwhile(desk: Desk) -> None:
    cue = (await desk.edit(await desk.line("It drives"), "It drives itself.")).cues[0]
    await desk.hear(FINAL)
    assert (await desk.line("itself")).text == "It dives itself."
    done = await desk.edit(cue, "It drives itself now.")
    assert done.cues[0].text == "It dives itself now."


async def test_a_save_brings_a_line_back_where_the_final_pass_hears_nothing(desk: Desk) -> None:
    cue = await desk.line("It drives")
    await desk.hear(FINAL[:1])
    done = await desk.edit(cue, "It drives itself.")
    assert (done.cues[0].id, done.cues[0].text) == (cue.id, "It drives itself.")


async def test_a_save_onto_what_another_editor_changed_after_the_pass_is_refused(desk: Desk) -> None:
    cue = await desk.line("It drives")
    await desk.hear(FINAL)
    other = await desk.edit(await desk.line("dives"), "A car sees you. It swims.")
    with pytest.raises(StaleCueError) as refused:
        await desk.edit(cue, "It drives? Alone!")
    assert refused.value.current == other.cues[0]


async def test_a_save_onto_a_line_another_editor_took_out_is_refused(desk: Desk) -> None:
    cue = await desk.line("It drives")
    await desk.delete(cue)
    with pytest.raises(StaleCueError) as refused:
        await desk.edit(cue, "It drives itself.")
    assert refused.value.current is not None
    assert refused.value.current.text == "The car sees you."


async def test_restoring_takes_an_edit_back_to_the_millisecond(desk: Desk) -> None:
    cue = await desk.line("Jing")
    done = await desk.edit(cue, "Welcome to Beijing, friends.")
    back = (await desk.restore(done.cues[0], done.revision_id)).cues[0]
    assert (back.text, [(w.text, w.start_ms, w.end_ms) for w in back.words]) == (
        cue.text,
        [(w.text, w.start_ms, w.end_ms) for w in cue.words],
    )
    await desk.hear(FINAL)
    assert (await desk.texts())[0] == "Welcome to Bay Jing."


async def test_restoring_brings_a_deleted_line_and_a_split_one_back(desk: Desk) -> None:
    cue = await desk.line("The car")
    gone = await desk.delete(cue)
    back = (await desk.restore(cue, gone.revision_id)).cues[0]
    assert (back.id, back.text, back.words) == (cue.id, cue.text, cue.words)
    async with desk.database.write() as tx:
        halves = await corrections.split(tx, back.id, back.revision, 4, desk.editor)
    whole = await desk.restore(halves.cues[0], halves.revision_id)
    assert [line.text for line in whole.cues] == [cue.text]
    assert await desk.texts() == [line.text for line in LIVE]
    with pytest.raises(EditError):
        await desk.restore(whole.cues[0], halves.revision_id)


async def test_restoring_refuses_a_step_whose_lines_have_changed_since(desk: Desk) -> None:
    cue = await desk.line("The car")
    async with desk.database.write() as tx:
        halves = await corrections.split(tx, cue.id, cue.revision, 4, desk.editor)
    await desk.edit(halves.cues[1], "bus sees you.")
    with pytest.raises(EditError, match="one by one"):
        await desk.restore(halves.cues[0], halves.revision_id)
    assert "bus sees you." in await desk.texts()


NANJING = (heard(0, "Welcome", "to", "Nan", "jing.", probability=0.97),)


async def suggested(desk: Desk) -> list[Suggestion]:
    async with desk.database.read() as connection:
        return await suggestions.of_recording(connection, desk.recording_id)


async def suggested_against_beijing(desk: Desk) -> tuple[Cue, Suggestion]:
    """A person wrote Beijing, and a sure machine hears Nanjing."""
    await desk.edit(await desk.line("Jing"), "Welcome to Beijing.")
    await desk.hear(NANJING)
    cue = await desk.line("Welcome")
    assert cue.text == "Welcome to Beijing."
    [one] = await suggested(desk)
    assert (one.cue_id, one.text, one.heard) == (cue.id, "Beijing.", "Nan jing.")
    return cue, one


async def test_where_a_sure_machine_hears_something_else_it_suggests(desk: Desk) -> None:
    cue, _ = await suggested_against_beijing(desk)
    async with desk.database.write() as tx:
        [cue] = (await corrections.set_speaker(tx, cue.id, cue.revision, "Ada", desk.editor)).cues
    assert len(await suggested(desk)) == 1, "who speaks has nothing to do with it"
    await desk.edit(cue, "Welcome to Nanjing.")
    assert await suggested(desk) == []


async def test_a_suggestion_that_is_followed_is_an_edit_like_any_other(desk: Desk) -> None:
    cue, one = await suggested_against_beijing(desk)
    async with desk.database.write() as tx:
        done = await corrections.follow(tx, cue.id, cue.revision, one.id, desk.editor)
    assert [line.text for line in done.cues] == ["Welcome to Nan jing."]
    assert await suggested(desk) == []
    async with desk.database.read() as connection:
        step = (await corrections.history(connection, cue.id))[0]
    assert (step.kind, step.user, step.before[0].line.text) == (RevisionKind.EDIT, "Mei", cue.text)
    restored = await desk.restore(done.cues[0], step.id)
    assert [line.text for line in restored.cues] == ["Welcome to Beijing."]


async def test_a_suggestion_that_is_dismissed_is_not_made_again(desk: Desk) -> None:
    cue, one = await suggested_against_beijing(desk)
    async with desk.database.write() as tx:
        done = await corrections.dismiss(tx, cue.id, cue.revision, one.id, desk.editor)
    assert done.cues == (cue,)
    await desk.hear(NANJING, name="another")
    assert (await desk.line("Welcome")).text == "Welcome to Beijing."
    assert await suggested(desk) == []
    async with desk.database.read() as connection:
        [kept] = await suggestions.of_cue(connection, cue.id)
    assert (kept.text, kept.heard, kept.user) == ("Beijing.", "Nan jing.", "Mei")
    assert kept.at is not None
    await desk.hear((heard(0, "Welcome", "to", "Tianjin.", probability=0.97),), name="a third")
    assert [other.heard for other in await suggested(desk)] == ["Tianjin."]


async def test_nobody_decides_on_a_line_that_they_have_not_seen(desk: Desk) -> None:
    cue, one = await suggested_against_beijing(desk)
    for decide in (corrections.follow, corrections.dismiss):
        with pytest.raises(StaleCueError):
            async with desk.database.write() as tx:
                await decide(tx, cue.id, cue.revision + 1, one.id, desk.editor)
        with pytest.raises(EditError, match="answered"):
            async with desk.database.write() as tx:
                await decide(tx, cue.id, cue.revision, suggestions.SuggestionId(one.id + 1), desk.editor)
    assert await suggested(desk) == [one]


async def test_a_refused_correction_leaves_nothing_behind(desk: Desk) -> None:
    cue = await desk.line("The car")
    before = await desk.lines()
    for bad in ("", " \n ", "x" * 5001):
        with pytest.raises(EditError):
            await desk.edit(cue, bad)
    with pytest.raises(EditError):
        async with desk.database.write() as tx:
            await corrections.split(tx, cue.id, cue.revision, 0, desk.editor)
    with pytest.raises(EditError):
        async with desk.database.write() as tx:
            await corrections.retime(tx, cue.id, cue.revision, 500, 500, desk.editor)
    with pytest.raises(NotFoundError):
        async with desk.database.write() as tx:
            await corrections.edit(tx, 10**9, 0, "x", desk.editor)
    assert await desk.lines() == before


async def test_the_line_of_a_moment(desk: Desk) -> None:
    async with desk.database.read() as connection:
        found = [await corrections.cue_at(connection, desk.recording_id, ms) for ms in (0, 2500, 3100, 99_000)]
    assert [cue.text if cue else "" for cue in found] == [LIVE[0].text, LIVE[0].text, LIVE[1].text, LIVE[2].text]


async def test_speakers_are_the_guests_first(desk: Desk) -> None:
    cue = await desk.line("The car")
    async with desk.database.write() as tx:
        done = await corrections.set_speaker(tx, cue.id, cue.revision, "Host", desk.editor)
        await corrections.set_speaker(tx, cue.id, done.cues[0].revision, "雷军", desk.editor)
    async with desk.database.read() as connection:
        assert await speakers.names(connection, desk.recording_id, "zh") == ["雷军", "Ada", "Host"]
        assert await speakers.names(connection, desk.recording_id) == ["Lei Jun", "Ada", "Host"]


async def test_every_outlet_has_a_persons_words(desk: Desk) -> None:
    await desk.edit(await desk.line("Jing"), "Welcome to Beijing.")
    await desk.hear(FINAL)
    lines = await desk.lines()
    assert "Beijing" in captions.to_vtt(lines)
    exported = captions.to_json(lines, 60_000)["cues"][0]
    assert exported["text"].split()[:3] == [word["text"] for word in exported["words"]][:3]


@pytest.mark.parametrize(
    "text", ["我们在北京测试 smart cockpit 智能座舱。", "한국어 자막", "…", "🙂 ok", "a\u0000b\u202ec"]
)
async def test_any_script_can_be_typed(desk: Desk, text: str) -> None:
    cue = await desk.line("The car")
    done = await desk.edit(cue, text)
    assert done.cues[0].text == text.replace("\u0000", "").replace("\u202e", "")
    await desk.hear(FINAL)
    assert done.cues[0].text in await desk.texts()


async def test_a_translated_line_is_not_merged_over_one_that_is_shown_as_spoken(desk: Desk) -> None:
    spoken = [replace(heard(at, "一", "二"), lang="zh") for at in (0, 6_000, 9_000)]
    await desk.hear([spoken[0], heard(3_000, "In", "English."), *spoken[1:]])
    async with desk.database.write() as tx:
        run = await transcripts.begin_run(
            tx,
            desk.recording_id,
            RunStage.TRANSLATION,
            engine="test",
            model="tiny",
            model_identity="tiny",
            track="en",
        )
        await transcripts.append(tx, run, [heard(at, "One", "two.") for at in (0, 6_000, 9_000)], 60_000)
        await transcripts.adopt(tx, run)
    async with desk.database.read() as connection:
        shown = await tracks.lines(connection, desk.recording_id, "en")
    assert [cue.track for cue in shown] == ["en", "", "en", "en"]
    for cue, side in ((shown[0], "next"), (shown[2], "previous")):
        with pytest.raises(EditError, match="as it is spoken"):
            async with desk.database.write() as tx:
                await corrections.merge(tx, cue.id, cue.revision, side, desk.editor)
    async with desk.database.write() as tx:
        done = await corrections.merge(tx, shown[2].id, shown[2].revision, "next", desk.editor)
    assert [cue.text for cue in done.cues] == ["One two. One two."]
