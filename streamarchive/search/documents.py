"""What the index holds: one small document a cue, and one an interview for the words it is known by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from streamarchive import text
from streamarchive.models import Cue, CueId, Interview, InterviewId
from streamarchive.protocols import CueDocument, InterviewDocument

LONGEST_SILENCE_MS = 10_000
"""A phrase does not reach over a longer one."""


def cue_document_id(interview_id: InterviewId, cue_id: CueId) -> str:
    """One recording may serve several interviews, so a cue may have several documents."""
    return f"{interview_id}-{cue_id}"


def cue_document(
    cue: Cue,
    interview_id: InterviewId,
    held_at: datetime,
    following: Cue | None = None,
    version: int | None = None,
) -> CueDocument:
    """The document of a cue in an interview; `version` is the cue's own unless the caller counts otherwise.

    `following` is the next cue of the transcript that the interview shows. After a long silence it does not
    continue what was said.
    """
    continues = following is not None and following.start_ms - cue.end_ms <= LONGEST_SILENCE_MS
    return CueDocument(
        id=cue_document_id(interview_id, cue.id),
        version=cue.version if version is None else version,
        interview_id=interview_id,
        start_ms=cue.start_ms,
        end_ms=cue.end_ms,
        text=cue.text,
        lang=cue.lang,
        speaker=cue.speaker,
        doubtful=cue.doubt is not None,
        held_at=held_at,
        following=text.beginning(following.text, text.BORDER_UNITS)
        if following is not None and continues
        else "",
    )


def interview_document(interview: Interview, version: int) -> InterviewDocument:
    """Titles and descriptions in every language, guests in every spelling, the event."""
    return InterviewDocument(
        id=str(interview.id),
        version=version,
        interview_id=interview.id,
        text="\n".join(_names(interview)),
        held_at=interview.held_at,
    )


def _names(interview: Interview) -> Iterable[str]:
    parts = [*interview.titles.values()]
    for guest in interview.guests:
        parts += [*guest.names.values(), *guest.affiliations.values()]
    if interview.event is not None:
        parts += interview.event.names.values()
    parts += interview.descriptions.values()
    return dict.fromkeys(part for part in parts if part)
