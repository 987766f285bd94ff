#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "common/protocol.h"
#include "common/result.h"

namespace vmferry {

// What an agent has proven with its hello: until when that counts, and who it is, for logs.
struct AgentPass {
  std::chrono::nanoseconds valid_for{};    // afterwards its messages are not heard any more
  std::chrono::nanoseconds check_after{};  // earlier: it is asked to say hello again
  std::string who;
};

// Lets agents in, or not, by what their hello says. Where agents have keys that the coordinator
// knows (embedded mode) there is no gate: strangers do not get past the CURVE handshake.
class AgentGate {
 public:
  // PermissionDenied: no agent of ours. Other errors: it could not be found out.
  using Answer = std::function<void(Result<AgentPass>)>;

  virtual ~AgentGate() = default;
  // Called on the thread of the fleet's socket: does not block. `answer` is called once, from any
  // thread, also when the gate goes away before it knows. `key`: the agent's proven CURVE key.
  virtual void check(const protocol::Hello& hello, const std::string& key, Answer answer) = 0;
};

}  // namespace vmferry
