"""Speech to text: audio, windows, engines, and the policy that turns results into cues."""
