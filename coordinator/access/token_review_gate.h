#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/guarded.h"
#include "common/log.h"
#include "coordinator/access/agent_identity.h"
#include "coordinator/fleet/agent_gate.h"
#include "coordinator/kube/events.h"
#include "coordinator/kube/reader.h"
#include "coordinator/kube/writer.h"

namespace vmferry::access {

// Asks the API server whose token an agent shows (TokenReview), and looks at the pod that the token
// is bound to, on a few threads of its own. What is no token for us by its shape is refused without
// asking, and an accepted hello that comes again soon is let in from memory: when all agents of a
// large cluster come back at once, each of them costs two requests, and strangers next to none. A
// pod that is refused gets an event.
class TokenReviewGate final : public AgentGate {
 public:
  struct Settings {
    AgentRules rules;
    // An agent is asked for its token again so often: a pod that was deleted meanwhile is noticed.
    std::chrono::nanoseconds check_every = std::chrono::minutes(5);
    // A hello that was accepted counts so long if it comes again, but no longer than half of
    // check_every.
    std::chrono::nanoseconds remember = std::chrono::seconds(30);
    int threads = 4;
  };
  // `reader` asks the server itself, not a cache, which may not know a new pod yet.
  TokenReviewGate(kube::Reader& reader, kube::Writer& writer, kube::EventRecorder& events,
                  Settings settings, const Clock& clock, const Logger& log);
  ~TokenReviewGate() override;

  void check(const protocol::Hello& hello, const std::string& key, Answer answer) override;

 private:
  struct Question {
    protocol::Hello hello;
    Answer answer;
  };
  struct Accepted {
    AgentPass pass;
    SteadyTime at;
  };
  void run(std::stop_token stop);
  std::optional<AgentPass> remembered(const std::string& who);
  void remember(const std::string& who, const AgentPass& pass);
  Result<AgentPass> judge(const protocol::Hello& hello, std::stop_token stop);
  Result<Evidence> evidence_of(const TokenOwner& owner, std::stop_token stop);

  kube::Reader& reader_;
  kube::Writer& writer_;
  kube::EventRecorder& events_;
  const Settings settings_;
  const Clock& clock_;
  const Logger log_;
  std::mutex mutex_;
  std::condition_variable_any asked_;
  std::deque<Question> questions_;
  Guarded<std::map<std::string, Accepted>> accepted_;  // by a digest of token, name and node
  std::vector<std::jthread> threads_;
};

}  // namespace vmferry::access
