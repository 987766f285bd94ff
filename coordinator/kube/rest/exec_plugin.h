#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "coordinator/kube/rest/credentials.h"

namespace vmferry::kube {

// Credentials from a program, by the ExecCredential protocol of client.authentication.k8s.io (v1
// and v1beta1): it gets what it needs to know as JSON in KUBERNETES_EXEC_INFO and prints a token or
// a client certificate with its expiry. Run at the first use, shortly before the expiry, and when
// the server refuses what it gave. It may take a minute; its stderr is ours, its stdin empty.
class ExecPlugin final : public Credentials {
 public:
  struct Command {
    std::string program;  // a path, or a name looked up in PATH
    std::vector<std::string> arguments;
    std::vector<std::pair<std::string, std::string>> environment;  // added to ours
    std::string api_version;
    std::string install_hint;
    bool provide_cluster = false;
    nlohmann::json cluster = nlohmann::json::object();  // spec.cluster, when asked for
  };
  // `base`: what is sent beside the plugin's answer.
  ExecPlugin(Command command, Credential base, const Clock& clock, const Logger& log)
      : command_(std::move(command)), base_(std::move(base)), clock_(clock), log_(log) {}

  Result<Credential> current(std::stop_token stop) override;
  bool refused(std::uint64_t generation) override;

 private:
  Result<Credential> run(std::stop_token stop, WallTime& expires) const;

  struct State {
    Credential credential;
    WallTime expires{};
    bool valid = false;
    std::uint64_t runs = 0;
  };
  Command command_;
  Credential base_;
  const Clock& clock_;
  Logger log_;
  Guarded<State> state_;  // held while the program runs: everybody waits for the one answer
};

// users[].user.exec of a kubeconfig in `folder`. InvalidArgument says which key is wrong.
Result<ExecPlugin::Command> parse_exec(const nlohmann::json& exec, const std::string& folder);

// A plugin's answer. `expires` is max() when it has no expiry. InvalidArgument, without the text.
Result<Credential> parse_exec_credential(const std::string& text, const std::string& api_version,
                                         const Credential& base, WallTime& expires);

}  // namespace vmferry::kube
