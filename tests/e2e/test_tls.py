# SPDX-License-Identifier: Apache-2.0
"""TLS on the data port: server certificates, client certificates, and what goes wrong with either."""

import re
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
import serving

CASE = serving.golden_cases()[0]


def openssl(*arguments: object) -> None:
    """Runs openssl, quietly."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> None:
    """A self-signed authority: NAME.key, NAME.pem."""
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
    )  # fmt: skip


def make_certificate(folder: Path, name: str, authority: str, days: int = 2) -> None:
    """A key and a certificate for localhost, signed by the authority: NAME.key, NAME.pem."""
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr",
    )  # fmt: skip
    openssl(
        "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{authority}.pem",
        "-CAkey", folder / f"{authority}.key", "-CAcreateserial", "-days", days, "-copy_extensions", "copy",
        "-out", folder / f"{name}.pem",
    )  # fmt: skip


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a stranger's, and certificates of both."""
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ours", "theirs"):
        make_authority(folder, authority)
    make_certificate(folder, "server", "ours")
    make_certificate(folder, "client", "ours")
    make_certificate(folder, "stranger", "theirs")
    return folder


def tls_flags(folder: Path) -> list[str]:
    """Flags that turn TLS on."""
    return [f"--tls-cert={folder / 'server.pem'}", f"--tls-key={folder / 'server.key'}"]


def ask(server: serving.Server, folder: Path, roots: str = "ours", client: str = "") -> object:
    """One Generate call over TLS; `client` names the certificate to show."""
    key = (folder / f"{client}.key").read_bytes() if client else None
    chain = (folder / f"{client}.pem").read_bytes() if client else None
    credentials = grpc.ssl_channel_credentials((folder / f"{roots}.pem").read_bytes(), key, chain)
    with grpc.secure_channel(server.address, credentials) as channel:
        return serving.Stub(channel).Generate(serving.generate_request(CASE), timeout=20)


def refused(server: serving.Server, folder: Path, **how: str) -> grpc.StatusCode:
    """The code of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, folder, **how)
    return caught.value.code()


@pytest.fixture(scope="module")
def tls_server(certificates: Path):  # noqa: ANN201
    """A server with a certificate."""
    with serving.Server(serving.TINY, *tls_flags(certificates)) as running:
        yield running


@pytest.fixture(scope="module")
def mutual_server(certificates: Path):  # noqa: ANN201
    """A server that asks clients for a certificate."""
    with serving.Server(
        serving.TINY, *tls_flags(certificates), f"--tls-client-ca={certificates / 'ours.pem'}"
    ) as running:
        yield running


def test_the_answer_comes_over_tls(tls_server: serving.Server, certificates: Path) -> None:
    assert list(ask(tls_server, certificates).candidates[0].token_ids) == CASE["token_ids"]


def test_a_client_that_trusts_others_does_not_connect(tls_server: serving.Server, certificates: Path) -> None:
    assert refused(tls_server, certificates, roots="theirs") == grpc.StatusCode.UNAVAILABLE


def test_plain_text_is_not_answered(tls_server: serving.Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        tls_server.stub.Generate(serving.generate_request(CASE), timeout=20)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    lines = tls_server.log_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in lines), "the library's lines are lines of the log"
    assert any(" warning gRPC: " in line for line in lines), lines


def test_a_client_with_a_certificate_is_answered(mutual_server: serving.Server, certificates: Path) -> None:
    assert ask(mutual_server, certificates, client="client").candidates


@pytest.mark.parametrize("client", ["", "stranger"])
def test_a_client_without_a_right_one_is_not(mutual_server: serving.Server, certificates: Path, client: str) -> None:
    assert refused(mutual_server, certificates, client=client) == grpc.StatusCode.UNAVAILABLE
    assert ask(mutual_server, certificates, client="client").candidates, "and others still are"


@pytest.mark.parametrize("flag", ["--tls-cert", "--tls-key", "--tls-client-ca"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_cannot_be_used_stops_the_start(
    certificates: Path, tmp_path: Path, flag: str, content: str | None
) -> None:
    bad = tmp_path / "bad.pem"
    if content:
        bad.write_text(content)
    flags = [*tls_flags(certificates), f"--tls-client-ca={certificates / 'ours.pem'}"]
    flags = [f"{flag}={bad}" if given.startswith(flag) else given for given in flags]
    server = serving.Server(serving.TINY, *flags)
    assert server.process.wait(30) == 1
    assert str(bad) in server.log_text().splitlines()[-1]


def test_a_key_of_another_certificate_stops_the_start(certificates: Path) -> None:
    flags = (f"--tls-cert={certificates / 'server.pem'}", f"--tls-key={certificates / 'client.key'}")
    server = serving.Server(serving.TINY, *flags)
    assert server.process.wait(30) == 1
    assert "is not the key of the certificate" in server.log_text().splitlines()[-1]


def swapped_in(folder: Path, files: dict[str, Path]) -> None:
    """Puts a new version behind the folder's files at once, as Kubernetes does with a Secret."""
    version = folder / f"version-{len(list(folder.glob('version-*')))}"
    version.mkdir()
    for name, source in files.items():
        shutil.copy(source, version / name)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("now") / name)
    (folder / "next").symlink_to(version.name)
    (folder / "next").rename(folder / "now")


def version(certificates: Path, name: str, roots: str) -> dict[str, Path]:
    """The files of a Secret with this certificate, which trusts clients of `roots`."""
    files = {"tls.crt": f"{name}.pem", "tls.key": f"{name}.key", "ca.crt": f"{roots}.pem"}
    return {name: certificates / file for name, file in files.items()}


def secret_flags(folder: Path) -> list[str]:
    """Flags that name such files."""
    return [f"--tls-cert={folder}/tls.crt", f"--tls-key={folder}/tls.key", f"--tls-client-ca={folder}/ca.crt"]


def test_new_certificates_are_used_without_a_restart(certificates: Path, tmp_path: Path) -> None:
    expiry = "paligemma_tls_certificate_expiry_timestamp_seconds"
    swapped_in(tmp_path, version(certificates, "server", roots="ours"))
    with serving.Server(serving.TINY, *secret_flags(tmp_path)) as server:
        assert ask(server, certificates, client="client").candidates
        before = server.metric(expiry)
        make_certificate(certificates, "renewed", "theirs", days=9)
        swapped_in(tmp_path, version(certificates, "renewed", roots="theirs"))
        assert ask(server, certificates, roots="theirs", client="stranger").candidates
        assert refused(server, certificates, client="client") == grpc.StatusCode.UNAVAILABLE
        assert server.metric(expiry) > before + 6 * 86400


def test_certificates_that_turn_bad_leave_the_old_ones_in_use_and_are_logged(
    certificates: Path, tmp_path: Path
) -> None:
    swapped_in(tmp_path, version(certificates, "server", roots="ours"))
    with serving.Server(serving.TINY, *secret_flags(tmp_path)) as server:
        mismatched = {**version(certificates, "server", roots="ours"), "tls.key": certificates / "client.key"}
        for files in ({name: Path(__file__) for name in mismatched}, mismatched):
            swapped_in(tmp_path, files)
            assert ask(server, certificates, client="client").candidates
        (tmp_path / "now").unlink()
        assert ask(server, certificates, client="client").candidates
        warnings = [line for line in server.log_text().splitlines() if "stay in use" in line]
        assert len(warnings) == 3 and all(str(tmp_path) in line for line in warnings)
