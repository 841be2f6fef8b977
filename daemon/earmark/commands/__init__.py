"""What users type, a module for each group; thin: what a command does lives in `earmark.service`, `earmark.library` and `earmark.local`."""
