"""The kinds of cases that a campaign tries, by name."""

from types import ModuleType

from tests.fuzz import (
    kind_calls,
    kind_flipped_bits,
    kind_images,
    kind_kills,
    kind_reference_files,
    kind_run_folders,
    kind_text,
    kind_weights,
)

KINDS: dict[str, ModuleType] = {
    kind_calls.NAME: kind_calls,
    kind_images.NAME: kind_images,
    kind_weights.NAME: kind_weights,
    kind_run_folders.NAME: kind_run_folders,
    kind_reference_files.NAME: kind_reference_files,
    kind_flipped_bits.NAME: kind_flipped_bits,
    kind_kills.NAME: kind_kills,
    kind_text.NAME: kind_text,
}
