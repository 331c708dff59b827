"""Settings and limits: read once, frozen, handed on in the smallest piece. Imports nothing of ours."""
