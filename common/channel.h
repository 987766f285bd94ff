#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol.h"
#include "common/result.h"
#include "common/secret.h"

namespace vmferry {

// A CURVE key pair in Z85 text (40 characters each).
struct CurveKeys {
  std::string public_key;
  SecretString secret_key;

  static CurveKeys generate();
  // The pair of a secret key in Z85. InvalidArgument: it is none.
  static Result<CurveKeys> from_secret(SecretString secret_key);
  // Reads `path` (secret, mode 0600; refused when others may read it) and `path`.pub; makes both
  // when absent.
  static Result<CurveKeys> load_or_create(const std::string& path);
};

// One received message; `peer` is the socket's routing id (coordinator side; empty for the agent),
// `key` the peer's authenticated CURVE public key in Z85.
struct Received {
  std::string peer;
  std::string key;
  protocol::Message message;
};

// The coordinator's side: ROUTER with CURVE. Belongs to one thread, but for stop-safe wake-ups by
// the caller's own fds. Strangers (keys not in `allowed`, when that is given) never get past the
// handshake; undecodable messages are counted, logged by the caller through `on_garbage` and
// dropped; the process stays up.
class CoordinatorChannel {
 public:
  struct Options {
    std::string bind = "tcp://127.0.0.1:*";
    CurveKeys keys;
    std::optional<std::set<std::string>> allowed;  // nothing: any CURVE client; Hello is checked
  };
  static Result<std::unique_ptr<CoordinatorChannel>> bind(Options options);
  ~CoordinatorChannel();

  const std::string& address() const;  // "tcp://127.0.0.1:40123"
  // Waits until a message, a readable fd of `wake_fds`, or the timeout. Messages already here are
  // returned at once, up to `most`.
  Result<std::vector<Received>> receive(std::chrono::milliseconds timeout,
                                        const std::vector<int>& wake_fds, std::size_t most = 256);
  // Unavailable when the peer is unknown or its queue is full; never blocks.
  Result<void> send(const std::string& peer, const protocol::Message& message);
  std::uint64_t garbage_count() const;  // undecodable messages so far
  std::uint64_t refused_count() const;  // handshakes refused so far
  std::string last_garbage() const;     // why, for the log

 private:
  struct Impl;
  explicit CoordinatorChannel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The agent's side: DEALER with CURVE, reconnecting by itself.
class AgentChannel {
 public:
  struct Options {
    std::string address;
    std::string server_key;  // the coordinator's public key: a wrong one never connects
    CurveKeys keys;
  };
  static Result<std::unique_ptr<AgentChannel>> connect(Options options);
  ~AgentChannel();

  Result<std::vector<protocol::Message>> receive(std::chrono::milliseconds timeout,
                                                 const std::vector<int>& wake_fds,
                                                 std::size_t most = 256);
  // Unavailable when the queue is full or there is no connection now.
  Result<void> send(const protocol::Message& message);
  std::uint64_t garbage_count() const;  // undecodable messages so far
  std::string last_garbage() const;

 private:
  struct Impl;
  explicit AgentChannel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vmferry
