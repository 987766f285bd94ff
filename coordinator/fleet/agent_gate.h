#pragma once

#include <string>

#include "common/protocol.h"

namespace vmferry {

// Decides which processes are agents of ours; CURVE alone proves that a peer has the key that it
// shows. Asked on the fleet's own thread: every answer comes from memory, at once; what has to be
// looked up is looked up elsewhere meanwhile.
class AgentGate {
 public:
  enum class Answer {
    Admitted,
    Refused,  // the Hello is dropped; the gate has logged why
    NotYet,   // the Hello is dropped too: it comes again within a second
  };
  enum class Standing {
    Good,
    Renew,  // still good, but soon not: the fleet asks for a new Hello, with a fresh token
    Ended,  // what it sends is dropped, and it is asked for a new Hello
  };
  virtual ~AgentGate() = default;

  // For every Hello. `key` is the sender's proven CURVE key, in Z85.
  virtual Answer admit(const protocol::Hello& hello, const std::string& key) = 0;
  // For every other message of a key that has been admitted.
  virtual Standing standing(const std::string& key) = 0;
};

}  // namespace vmferry
