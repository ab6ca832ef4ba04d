"""StreamArchive: live interviews, recorded, transcribed on air and searchable to the second."""

__version__ = "0.1.0"
