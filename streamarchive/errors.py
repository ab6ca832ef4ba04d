"""Everything that can go wrong and that a person can do something about.

    StreamArchiveError
    ├── UsageError                 the command or setting makes no sense (exit status 2)
    ├── SettingsError              a setting is unknown, malformed or contradictory
    ├── SignInRefusedError         wrong name or password, or too many attempts
    ├── NotFoundError              no such interview, recording, cue, job
    │   └── GoneError              it was there, and is not kept any more
    ├── EditError                  a correction makes no sense (an empty line, a split at its end)
    ├── ConflictError              somebody else changed it meanwhile
    │   ├── StaleCueError          of catalogue.corrections; carries the cue as it is now
    │   └── FencedError            another process owns this stream now
    ├── DatabaseError              the catalogue cannot be opened or used
    │   ├── DatabaseUnavailableError  it is away, busy or full (worth a retry)
    │   └── SchemaTooNewError      a newer StreamArchive has written it
    ├── MediaError                 a file or stream cannot be read or written
    │   ├── UnreadableMediaError   not media, or damaged beyond use
    │   │   └── NoSoundError       media, but nothing to hear in it
    │   ├── UnverifiedError        a file does not hold all that it was made from
    │   ├── UnreadableCaptionsError  not captions, or malformed
    │   ├── SourceError            a stream's address refuses, or may not be used
    │   │   └── SourceUnreachableError  it cannot be reached, or does not answer
    │   └── StorageError           the media store failed or is full
    ├── TranscriptionError         the recogniser failed
    │   ├── ModelUnavailableError  the model is missing or cannot be fetched (worth a retry)
    │   └── EngineDiedError        the engine's process ended (worth a retry)
    ├── DeliveryError              a webhook did not take what it was sent (worth a retry)
    └── SearchError                the index failed
        └── SearchUnavailableError it cannot be reached at the moment (worth a retry)

The text of every one of them is a sentence that says what happened and what to do.
"""


class StreamArchiveError(Exception):
    """The root of the tree; its text is meant for a person."""

    retryable = False
    """Whether doing the same thing again later can succeed."""


class UsageError(StreamArchiveError):
    """The command line asks for something that makes no sense."""


class SettingsError(StreamArchiveError):
    """A setting is unknown, malformed or contradicts another."""


class SignInRefusedError(StreamArchiveError):
    """The name or the password is wrong, or too many attempts were."""


class NotFoundError(StreamArchiveError):
    """The thing asked for is not there (or not for this person)."""


class GoneError(NotFoundError):
    """The thing asked for was there and is not kept any more."""


class EditError(StreamArchiveError):
    """A correction makes no sense."""


class ConflictError(StreamArchiveError):
    """Somebody else changed it meanwhile."""


class FencedError(ConflictError):
    """Another process owns this stream now: stop writing."""


class DatabaseError(StreamArchiveError):
    """The catalogue cannot be opened or used."""


class DatabaseUnavailableError(DatabaseError):
    """The catalogue is away, busy or full at the moment."""

    retryable = True


class SchemaTooNewError(DatabaseError):
    """The catalogue was written by a newer StreamArchive."""


class MediaError(StreamArchiveError):
    """A media file or stream cannot be read or written."""


class UnreadableMediaError(MediaError):
    """The file is no media, or is damaged beyond use."""


class UnreadableCaptionsError(MediaError):
    """The file holds no captions, or malformed ones."""


class NoSoundError(UnreadableMediaError):
    """The file is media, but there is no sound in it."""


class UnverifiedError(MediaError):
    """A file does not hold all that it was made from."""


class SourceError(MediaError):
    """A stream's address refuses or may not be used."""

    retryable = True


class SourceUnreachableError(SourceError):
    """A stream's address cannot be reached, or nobody answers there."""


class StorageError(MediaError):
    """The media store failed or is full."""

    retryable = True


class TranscriptionError(StreamArchiveError):
    """The recogniser failed."""


class ModelUnavailableError(TranscriptionError):
    """The model is missing or cannot be fetched."""

    retryable = True


class EngineDiedError(TranscriptionError):
    """The engine's process ended before it had answered."""

    retryable = True


class DeliveryError(StreamArchiveError):
    """A webhook's address refuses, does not answer or may not be called."""

    retryable = True


class SearchError(StreamArchiveError):
    """The search index failed."""


class SearchUnavailableError(SearchError):
    """The search index cannot be reached at the moment."""

    retryable = True
