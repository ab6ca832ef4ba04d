"""Makes the demo recogniser: a small Whisper checkpoint that understands this project's synthetic voices.

    python -m tools.demo_model --help

Sentences come from the demo's own grammar, speech from the demo's own synthesiser; the sound is put through what
the product puts sound through; the result is examined with sentences and voices that were not in the training.
Why it is made this way is in docs/decisions/0046.
"""
