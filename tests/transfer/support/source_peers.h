#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "transfer/disk_source.h"
#include "transfer/sources/child_process.h"
#include "transfer/sources/private_directory.h"
#include "transfer/sources/stderr_tail.h"

namespace vmferry::testing {

using Bytes = std::vector<std::byte>;

// A directory for one test.
class Workspace {
 public:
  Workspace();
  std::string path(const std::string& name) const { return directory_->path() + "/" + name; }
  std::string write(const std::string& name, const Bytes& content) const;
  std::string write(const std::string& name, const std::string& content) const;

 private:
  std::unique_ptr<PrivateDirectory> directory_;
};

bool has_program(const std::string& name);
int free_tcp_port();
// A socket also has to take connections: programs bind it a moment before.
bool wait_for_file(const std::string& path,
                   std::chrono::milliseconds limit = std::chrono::seconds(10));
bool wait_for_port(int port, std::chrono::milliseconds limit = std::chrono::seconds(10));
// Runs to the end; the exit status, -1 when it could not be started.
int run(const std::vector<std::string>& command);

// Bytes that differ from place to place, the same for the same seed. `zero_every`: of that many
// 64 KiB blocks the last one is zero (0: none).
Bytes patterned(std::size_t size, unsigned seed = 1, unsigned zero_every = 0);

// A server program; killed at the end.
class Peer {
 public:
  explicit Peer(std::vector<std::string> command);
  void kill();
  void start();
  std::string stderr_text() const;
  pid_t pid() const { return child_ ? child_->pid() : -1; }

 private:
  std::vector<std::string> command_;
  StderrTail tail_{std::vector<SecretString>{}};
  std::unique_ptr<ChildProcess> child_;
};

// nbdkit on a Unix socket, in the foreground, read only.
class Nbdkit {
 public:
  // `arguments`: filters, plugin and parameters.
  Nbdkit(const Workspace& workspace, std::vector<std::string> arguments);
  std::string uri() const { return "nbd+unix:///?socket=" + socket_; }
  const std::string& socket() const { return socket_; }
  void kill() { peer_->kill(); }
  void restart(std::vector<std::string> arguments);

 private:
  void launch(const std::vector<std::string>& arguments);
  std::string socket_;
  std::string pidfile_;
  std::unique_ptr<Peer> peer_;
};

// A certificate authority and a server's certificate, named as each server wants them.
struct TestPki {
  explicit TestPki(const Workspace& workspace, const std::string& name = "pki");
  std::string directory;  // for nbdkit: ca-cert.pem, server-cert.pem, server-key.pem
  std::string ca() const { return directory + "/ca.pem"; }
  std::string certificate() const { return directory + "/server.pem"; }
  std::string key() const { return directory + "/server.key"; }
  std::string thumbprint() const;  // SHA-256 of the server's certificate
};

// tests/support/lying_http_server.py.
class LyingServer {
 public:
  // Over TLS when it gets certificates.
  LyingServer(const Workspace& workspace, const Bytes& disk, const TestPki* pki = nullptr);
  // Serves the files of `directory` under /files/.
  LyingServer(const Workspace& workspace, const std::string& directory);
  std::string file_url(const std::string& mode, const std::string& name = "disk") const;
  std::string image_url(const std::string& mode) const;
  std::string stats() const;  // JSON

 private:
  void launch(const Workspace& workspace, std::vector<std::string> arguments);
  std::string origin_;
  std::unique_ptr<Peer> peer_;
};

// The whole disk by `workers` concurrent readers of `request_bytes`.
Result<Bytes> read_all(DiskSource& source, int workers = 4, std::size_t request_bytes = 1u << 20,
                       std::stop_token stop = {});
// The whole map by repeated questions, merged. Checks the contract of extents().
Result<std::vector<Extent>> all_extents(DiskSource& source);

}  // namespace vmferry::testing
