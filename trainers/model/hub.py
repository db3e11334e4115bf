"""A saved model on a hub of models, such as Hugging Face's: whether it may go there, and sending it."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.errors import InputError, printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from trainers.config import TrainConfig

FROM_THE_HUB = frozenset({".gitattributes"})
"""What a hub itself writes into a new repository."""

LOG_IN = "log in with hf auth login, or set HF_TOKEN"
MOST_SAID = 200
"""Characters of what a hub says that are shown."""

_TOKEN = re.compile(r"[!-~]+")


def check_push(name: str | None, *, public: bool) -> None:
    """Check, before anything is fitted, that a model can be sent to a hub.

    Args:
        name: Of the repository, ``owner/name``; None where nothing is sent.
        public: Whether everybody may read it.

    Raises:
        InputError: The name is none, this machine is offline or has no token, the hub does not accept it or cannot be
            reached, or there is such a repository, and it holds something or is readable by others than asked for.
    """
    if name is None:
        if public:
            raise InputError("--public needs --push OWNER/NAME, the model that everybody may read; give both")
        return
    _check_name(name)
    token = _token()
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    with _told(name, token, folder=None, public=public):
        api.whoami()
    _is_begun(api, name, token, folder=None, public=public)


def push(folder: Path, name: str, *, public: bool) -> str:
    """Send a model directory to a hub as it is, in one commit, and return the address of the repository.

    Args:
        folder: As ``save`` wrote it. It stays as it is, whatever happens.
        name: Of the repository, ``owner/name``, which must be new or hold nothing.
        public: Whether everybody may read it.

    Raises:
        InputError: As ``check_push``, or the hub refused it, or the connection was cut. The repository may then stand there,
            empty; sending it again goes on with that.
    """
    _check_name(name)
    token = _token()
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    is_begun = _is_begun(api, name, token, folder=folder, public=public)
    with _told(name, token, folder=folder, public=public):
        if not is_begun:
            api.create_repo(name, private=not public)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="A model exported by Frostline")
    return f"{api.endpoint}/{name}"


def without_folders(config: TrainConfig) -> TrainConfig:
    """Return a configuration in which files and encoders of this machine stand by their names alone: it is for others to read."""
    data = {
        key: Path(value).name
        for key in ("source", "validation_source", "test_source")
        if (value := getattr(config.data, key)) is not None and Path(value).is_absolute()
    }
    encoder = Path(config.encoder.name).expanduser()
    return config.model_copy(
        update={
            "data": config.data.model_copy(update=data),
            "encoder": config.encoder.model_copy(update={"name": encoder.name} if encoder.is_dir() else {}),
        }
    )


def _check_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is in its documentation

    try:
        validate_repo_id(name)
    except HFValidationError:
        is_valid = False
    else:
        is_valid = name.count("/") == 1
    if not is_valid:
        raise InputError(
            f"--push must be OWNER/NAME of at most 96 letters, digits, '-', '_' and '.', neither '--' nor '..' in it, got {name!r}; "
            "change it"
        )


def _token() -> str:
    """Return the token that the hub's own client finds. It must appear in no message."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import OIDCError

    if constants.is_offline_mode():
        variable = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
        raise InputError(f"--push needs the network, which {variable} forbids; unset it")
    try:
        token = get_token()
    except (OIDCError, OSError, ValueError) as error:
        raise InputError(
            f"--push needs a token that may write, and it cannot be read: {type(error).__name__}; {LOG_IN}"
        ) from None
    if token is None:
        raise InputError(f"--push needs a token that may write, got none; {LOG_IN}")
    if not _TOKEN.fullmatch(token):
        raise InputError(
            "--push needs a token of plain characters without spaces, got one with others, which no hub has given; "
            f"{LOG_IN}"
        )
    return token


def _is_begun(api: HfApi, name: str, token: str, *, folder: Path | None, public: bool) -> bool:
    """Tell whether there is such a repository, which holds nothing as yet: one that was cut off begins so."""
    from huggingface_hub.errors import RepositoryNotFoundError

    found = None
    with _told(name, token, folder=folder, public=public):
        try:
            found = api.model_info(name)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401:
                raise
    if found is None:
        return False
    if {file.rfilename for file in found.siblings or ()} - FROM_THE_HUB:
        raise InputError(_exists(name, folder, public=public))
    if found.private is not None and found.private == public:
        is_it, want = ("private", "public") if found.private else ("public", "private")
        remedy = "leave --public out" if public else "give --public"
        raise InputError(
            f"--push must find a new repository or one that is {want}, got {name}, which is {is_it} on {_host(api.endpoint)}; "
            f"{remedy}, or change that there, {_again(name, folder, public=public)}"
        )
    return True


@contextmanager
def _told(name: str, token: str, *, folder: Path | None, public: bool) -> Iterator[None]:
    """Say in one line what the hub's client raises, and let nothing of its own out: that may hold the token."""
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)  # its warnings name the signed addresses that files are sent to
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # what it raises differs between its versions and its ways of sending
        raise InputError(_reason(error, name, token, folder, public=public)) from None
    finally:
        log.setLevel(before)


def _reason(error: Exception, name: str, token: str, folder: Path | None, *, public: bool) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    host, again = _host(constants.ENDPOINT), _again(name, folder, public=public)
    answer = next((e for e in (error, error.__cause__) if isinstance(e, HfHubHTTPError)), None)
    if answer is None:
        cause = error.__cause__ or error
        said = _said(f"{type(cause).__name__}: {cause}", token)
        return f"--push needs the hub {host} to take the model, got {said}; check the connection, {again}"
    status, message = answer.response.status_code, _said(answer.server_message or "", token)
    said = f"{status} from {host}{f' ({message})' if message else ''}"
    if status == 401:
        return f"--push needs a token that the hub accepts, got {said}; {LOG_IN}, {again}"
    if status == 403:
        owner = name.partition("/")[0]
        return (
            f"--push needs a token that may write to {owner}, got {said}; take an owner and a token with write access, "
            f"{again}"
        )
    if status == 409 and answer.response.request.url.path.endswith("/repos/create"):
        return _exists(name, folder, public=public)
    remedy = "wait a little" if status == 429 or status >= 500 else "see to what it says"
    return f"--push needs the hub {host} to take the model, got {said}; {remedy}, {again}"


def _exists(name: str, folder: Path | None, *, public: bool) -> str:
    return (
        f"--push must name a repository that is new or empty, got {name}, which holds something; give another name, or "
        f"replace what is there: {_command(name, folder, public=public)}"
    )


def _again(name: str, folder: Path | None, *, public: bool) -> str:
    if folder is None:
        return "then try again"
    return f"then send the saved model without another fit: {_command(name, folder, public=public)}"


def _command(name: str, folder: Path | None, *, public: bool) -> str:
    where = "FOLDER/model" if folder is None else shlex.quote(str(folder))
    return f"hf upload {name} {where}{'' if public else ' --private'}"


def _said(text: str, token: str) -> str:
    text = printable(text.replace(token, "***"))
    return text if len(text) <= MOST_SAID else text[: MOST_SAID - 3] + "..."


def _host(endpoint: str) -> str:
    """Name a hub without what stands before an @ in its address."""
    return re.sub(r"//[^/@]*@", "//", endpoint)
