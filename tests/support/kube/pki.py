"""Throwaway certificates and keys of a test cluster, by openssl."""
import pathlib
import subprocess

ISSUER = "https://kubernetes.default.svc"


def openssl(*words, text=None):
    done = subprocess.run(["openssl", *map(str, words)], input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr.strip()}")


class Authority:
    """A certificate authority with its folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificate = self.folder / "ca.pem"
        self._key("ca")
        openssl("req", "-x509", "-new", "-key", self.folder / "ca.key", "-sha256", "-days", "30",
                "-subj", "/O=throwaway/CN=test cluster", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", self.certificate)

    def _key(self, name, kind=("EC", "-pkeyopt", "ec_paramgen_curve:P-256")):
        openssl("genpkey", "-algorithm", *kind, "-out", self.folder / f"{name}.key")
        (self.folder / f"{name}.key").chmod(0o600)

    def issue(self, name, subject, names=("DNS:localhost", "IP:127.0.0.1"), days=30):
        """NAME.pem and NAME.key, for servers and clients. Returns both paths."""
        self._key(name)
        request, certificate = self.folder / f"{name}.csr", self.folder / f"{name}.pem"
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                              f"extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName={','.join(names)}\n")
        openssl("req", "-new", "-key", self.folder / f"{name}.key", "-subj", subject, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "ca.key",
                "-CAcreateserial", "-sha256", "-days", days, "-extfile", extensions, "-out", certificate)
        return certificate, self.folder / f"{name}.key"

    def signing_key(self, name):
        """An RSA key pair, for service-account tokens."""
        self._key(name, ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
        return self.folder / f"{name}.key"
