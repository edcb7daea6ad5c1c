"""The ground that methods, metrics and adapters stand on: a door for authors, not for users.

What is here may change between minor versions, with a line in the changelog; names that start with an underscore may
change at any time.

| module | what |
| --- | --- |
| `request` | `Request`: the arguments of one call, validated: inputs, model, rows in flight |
| `model` | `BatchedModel`: scores, gradients and outputs at points of rows; `compute_gradients`, Captum's seam |
| `rows` | what rows are; `Shared`; `step_by_step`, the order in which points make whole batches |
| `targets` | Captum's forms of a target, checked and selected |
| `target_functions`, `output_rows` | targets that are functions; what a model returns as rows |
| `chunks` | `RowLimit` and `for_each_chunk`: how many rows are in flight |
| `devices` | where numbers are planned, devices without float64, copies that nobody waits for |
| `nonfinite` | `on_nonfinite`: rows with NaN or infinity |
| `tensors` | dtypes of arithmetic, `Sums` in float64 |
| `blur` | Gaussian blur; public as `captum_ext.images.gaussian_blur` |
| `pixels`, `perturbation`, `fills` | what a pixel is, inputs with some of them replaced, and by what |
| `model_search`, `inspection` | the modules behind a forward function; training mode, dropout, frozen parameters |
| `autocast` | the caller's mixed precision for the model, full precision for everything else |
| `checks`, `warn`, `types` | validation of arguments, warnings at the caller's line, aliases |
| `random` | generators and seeds that leave the global state alone |
| `captum` | the one place with names that Captum keeps private |
| `atomic`, `files`, `regular_files` | files written whole or not at all; files of others, read without trust |
| `progress` | bars that count, and none where none is shown |
| `optional`, `memory`, `fingerprints` | extras, freed memory, settings as JSON |
"""
