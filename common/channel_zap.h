#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "common/result.h"

namespace vmferry {

// The doorman of a CoordinatorChannel: answers libzmq's questions whether a CURVE key may come in
// (ZAP, https://rfc.zeromq.org/spec/27/, asked over inproc://zeromq.zap.01 of the same context) and
// counts the handshakes that failed, from the socket's monitor. Must exist before the socket is
// bound; ends when the context is shut down, so shut that down before destroying it.
class Doorman {
 public:
  // `context` is a zmq context. `allowed`: public keys in Z85; nothing: every key.
  static Result<std::unique_ptr<Doorman>> start(void* context,
                                                std::optional<std::set<std::string>> allowed);
  ~Doorman() = default;

  // Watches the handshakes of `socket` from its own thread. Call once, before binding.
  Result<void> watch(void* socket);
  std::uint64_t refused_count() const { return refused_.load(); }

 private:
  explicit Doorman(std::optional<std::set<std::string>> allowed) : allowed_(std::move(allowed)) {}
  void serve(void* questions);
  void count_failures(void* events);
  // The answer's status, text and user id for one question. The user id is the key.
  bool may_enter(const std::string& mechanism, const std::string& key) const;

  const std::optional<std::set<std::string>> allowed_;
  std::atomic<std::uint64_t> refused_{0};
  void* context_ = nullptr;
  std::jthread answering_;
  std::jthread watching_;
};

}  // namespace vmferry
