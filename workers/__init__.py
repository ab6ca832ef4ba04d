"""The processes that record, transcribe, index and tidy up."""
