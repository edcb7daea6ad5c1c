"""What a convergence delta means, where it is large enough to matter."""

from __future__ import annotations

from captum_ext_integrations.cli.methods import MethodSpec, entry_of

_MUCH = 0.1  # of the difference of scores


def about_delta(total: float, delta: float, spec: MethodSpec) -> list[str]:
    """Lines that explain a delta above a tenth of the score difference, with what to try; else none.

    Args:
        total: sum of the attributions, which is the difference of scores plus `delta`.
        delta: convergence delta.
        spec: the method, as it was asked for.
    """
    difference = total - delta
    if abs(delta) <= _MUCH * abs(difference):
        return []
    share = f"off by {100 * abs(delta / difference):.0f} %" if difference else "off"
    lines = [
        f"The attributions should sum to {difference:.3g}, the score minus that of the baseline or the references, but "
        f"sum to {total:.3g}: {share}. Read the map with that in mind."
    ]
    tries = []
    if "n_steps" in entry_of(spec.name).options:
        tries.append(f"--n-steps {4 * spec.budget}")
    if spec.name != "idgi":
        tries.append("--method idgi, whose attributions sum to the difference by construction")
    return [*lines, f"To try: {'; or '.join(tries)}."] if tries else lines
