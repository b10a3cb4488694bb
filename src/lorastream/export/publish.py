"""Put an export onto the Hugging Face hub, with a card."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from lorastream.errors import RunError, UserError
from lorastream.export.card import card
from lorastream.export.exporter import Exported
from lorastream.files import write_atomically
from lorastream.learner import Learner
from lorastream.training.manifest import Step

CARD = "README.md"
_REFUSED = (401, 403)


def check_repository(repository: str) -> None:
    """See that a name is one that the hub takes, `owner/name`.

    Raises:
        UserError: it is not.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # pyright: ignore[reportPrivateImportUsage]

    try:
        validate_repo_id(repository)
        valid, got = repository.count("/") == 1, repr(repository)
    except HFValidationError as error:
        valid, got = False, f"{error}"
    if not valid:
        raise UserError(
            "push, REPOSITORY",
            expected="owner/name, of letters, digits, '-', '_' and '.'",
            got=got,
            next_step="for example: lorastream push model/ me/my-classes",
        )


def publish(
    exported: Exported, learner: Learner, repository: str, *, private: bool = False, steps: Sequence[Step] = ()
) -> str:
    """Upload an export with its card as one commit, and return the repository's address.

    The hub's address is that of `HF_ENDPOINT`, else huggingface.co; the token is the one of `hf auth login`.

    Args:
        exported: the folder; the card is written into it.
        learner: where it comes from.
        repository: `owner/name`; made where it is not there.
        private: whether only its owner may see it.
        steps: the model's past; see `card`.

    Raises:
        UserError: the name is none, the hub does not let this user write there, or it is public and must not be.
        RunError: the hub cannot be reached, or refused.
    """
    from huggingface_hub import HfApi

    check_repository(repository)
    write_atomically(exported.folder / CARD, card(exported, learner, repository, steps))
    api: Any = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="lorastream")
    with _hub_errors_told(repository):
        address = api.create_repo(repository, private=private, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise UserError(
                f"push {repository}",
                expected="a private repository, as --private asks",
                got="one that is there already and public",
                next_step="name another repository, make that one private first, or leave out --private",
            )
        message = f"{len(learner.class_names)} classes, for {exported.target}"
        api.upload_folder(repo_id=repository, folder_path=exported.folder, commit_message=message)
    return str(address)


@contextmanager
def _hub_errors_told(repository: str) -> Generator[None]:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    where = f"push {repository}"
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise _not_allowed(where, "no token on this machine") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in _REFUSED:
            raise _not_allowed(where, f"{status}: {_first_line(error)}") from error
        raise _failed(where, f"{status}: {_first_line(error)}") from error
    except OSError as error:  # no connection, or offline mode
        raise _failed(where, _first_line(error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0].startswith("httpx"):  # which of its names differs between releases
            raise _failed(where, _first_line(error)) from error
        raise


def _not_allowed(where: str, got: str) -> UserError:
    return UserError(
        where,
        expected="a token of the hub that may write there",
        got=got,
        next_step="hf auth login, with a token that may write; and check the owner's name",
    )


def _failed(where: str, got: str) -> RunError:
    return RunError(
        where,
        expected="the hub to take the files",
        got=got,
        next_step="run the same command again later: what is there already is not sent twice",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
