"""What is refused of an adapter before anything of it changes."""

from __future__ import annotations

from torch import Tensor

from lorastream.errors import AdapterError


def check_growth(rank: int, largest: int, *, live: bool) -> None:
    """Check that an update of this rank can be appended: none is live, and the rank is 1 to `largest`.

    Raises:
        AdapterError: it cannot.
    """
    if live:
        raise AdapterError(
            "adapter.grow",
            expected="no live update",
            got="the newest update still learns",
            next_step="call freeze() at the end of a task",
        )
    if not 1 <= rank <= largest:
        raise AdapterError(
            "adapter.grow, rank",
            expected=f"1 to {largest}, the width of the projection",
            got=str(rank),
            next_step=f"choose a rank of at most {largest}",
        )


def check_shape(name: str, factor: Tensor, expected: tuple[int, int]) -> None:
    """Check that a factor that was designed, `down` or `up`, has the shape that the projection and the rank ask for.

    Raises:
        AdapterError: it has another.
    """
    if tuple(factor.shape) != expected:
        raise AdapterError(
            f"adapter, {name}",
            expected=f"shape {expected}",
            got=f"shape {tuple(factor.shape)}",
            next_step="design one row of down, or one column of up, for each rank, as wide as the projection",
        )


def check_past(verb: str, *, there: bool, live: bool) -> None:
    """Check that there is something past to work on, and nothing live.

    Raises:
        AdapterError: it is not so.
    """
    if live or not there:
        raise AdapterError(
            f"adapter.{verb}",
            expected="past updates and none that is live",
            got="the newest update still learns" if live else "no update",
            next_step="grow an update, and call freeze() at the end of its task; then this",
        )


def check_stored(got: tuple[tuple[int, ...], ...], expected: tuple[tuple[int, ...], ...]) -> None:
    """Check that the shapes of stored updates, `up`, `down`, `scale` and `folded`, are this projection's.

    Raises:
        AdapterError: they are not.
    """
    if got != expected:
        raise AdapterError(
            "the stored updates of a projection",
            expected=f"up, down, scale, folded of shapes {expected}",
            got=str(got),
            next_step="load the model with the backbone it was made with",
        )
