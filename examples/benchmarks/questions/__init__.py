"""Questions that the papers leave open, with criteria that were stated before anything was measured."""
