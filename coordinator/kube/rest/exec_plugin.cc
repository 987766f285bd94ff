#include "coordinator/kube/rest/exec_plugin.h"

#include <filesystem>

#include "common/catalogue.h"
#include "coordinator/kube/rest/run_program.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

constexpr std::string_view kV1 = "client.authentication.k8s.io/v1";
constexpr std::string_view kV1Beta1 = "client.authentication.k8s.io/v1beta1";
constexpr std::chrono::seconds kRunLimit{60};
constexpr std::size_t kMaxAnswerBytes = 1u << 20;
// Renewed that long before the expiry: a request takes time, and clocks differ.
constexpr std::chrono::seconds kEarly{30};

Error invalid(const std::string& what) {
  return {ErrorKind::InvalidArgument, code::kClusterCredentials, what};
}

std::string text_at(const json& object, const char* name) {
  if (!object.is_object()) return "";
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

const json& member(const json& object, const char* name) {
  static const json none;
  if (!object.is_object()) return none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

}  // namespace

Result<ExecPlugin::Command> parse_exec(const json& exec, const std::string& folder) {
  ExecPlugin::Command command;
  command.program = text_at(exec, "command");
  if (command.program.empty()) return invalid("exec.command is missing");
  // As kubectl: a path is relative to the kubeconfig's folder, a bare name is looked up in PATH.
  if (command.program.find('/') != std::string::npos && !command.program.starts_with('/')) {
    command.program = (std::filesystem::path(folder) / command.program).string();
  }
  command.api_version = text_at(exec, "apiVersion");
  if (command.api_version != kV1 && command.api_version != kV1Beta1) {
    return invalid("exec.apiVersion must be " + std::string(kV1) + " or " + std::string(kV1Beta1));
  }
  if (text_at(exec, "interactiveMode") == "Always") {
    return invalid("exec.interactiveMode is Always, and nobody can be asked here");
  }
  for (const json& word : member(exec, "args")) {
    if (!word.is_string()) return invalid("exec.args must be strings");
    command.arguments.push_back(word.get<std::string>());
  }
  for (const json& variable : member(exec, "env")) {
    const std::string name = text_at(variable, "name");
    if (name.empty()) return invalid("exec.env needs names");
    command.environment.emplace_back(name, text_at(variable, "value"));
  }
  command.install_hint = text_at(exec, "installHint");
  command.provide_cluster = member(exec, "provideClusterInfo") == true;
  return command;
}

Result<Credential> parse_exec_credential(const std::string& text, const std::string& api_version,
                                         const Credential& base, WallTime& expires) {
  const json answer = json::parse(text, nullptr, false);
  if (!answer.is_object() || text_at(answer, "kind") != "ExecCredential") {
    return invalid("did not print an ExecCredential");
  }
  if (text_at(answer, "apiVersion") != api_version) {
    return invalid("printed apiVersion '" + text_at(answer, "apiVersion").substr(0, 100) +
                   "', wanted '" + api_version + "'");
  }
  const json& status = member(answer, "status");
  Credential credential = base;
  const std::string token = text_at(status, "token");
  const std::string certificate = text_at(status, "clientCertificateData");
  const std::string key = text_at(status, "clientKeyData");
  if (certificate.empty() != key.empty()) {
    return invalid("printed a client certificate or key without the other");
  }
  if (token.empty() && certificate.empty()) return invalid("printed neither token nor certificate");
  if (!token.empty()) credential.authorization = TRY(bearer_authorization(token));
  if (!certificate.empty()) {
    credential.certificate_pem = certificate;
    credential.key_pem = SecretString(key);
  }
  expires = WallTime::max();
  if (const std::string when = text_at(status, "expirationTimestamp"); !when.empty()) {
    const Result<WallTime> time = parse_rfc3339(when);
    if (!time) return invalid("printed an expirationTimestamp that is no time");
    expires = *time;
  }
  return credential;
}

Result<Credential> ExecPlugin::run(std::stop_token stop, WallTime& expires) const {
  json info{{"apiVersion", command_.api_version},
            {"kind", "ExecCredential"},
            {"spec", {{"interactive", false}}}};
  if (command_.provide_cluster) info["spec"]["cluster"] = command_.cluster;
  ProgramCall call{.program = command_.program,
                   .arguments = command_.arguments,
                   .environment = command_.environment,
                   .limit = kRunLimit,
                   .max_output_bytes = kMaxAnswerBytes};
  call.environment.emplace_back("KUBERNETES_EXEC_INFO",
                                info.dump(-1, ' ', false, json::error_handler_t::replace));
  const std::string name = "credential plugin '" + command_.program + "'";
  Result<std::string> output = run_program(call, stop);
  if (!output) {
    Error error = std::move(output).error();
    if (error.kind() == ErrorKind::Canceled) return error;
    std::string hint;
    if (error.kind() == ErrorKind::NotFound && !command_.install_hint.empty()) {
      hint = "; " + command_.install_hint.substr(0, 500);
    }
    return Error(ErrorKind::PermissionDenied, code::kClusterCredentials,
                 name + ": " + error.message() + hint);
  }
  Result<Credential> credential =
      parse_exec_credential(*output, command_.api_version, base_, expires);
  if (!credential) {
    return Error(ErrorKind::PermissionDenied, code::kClusterCredentials,
                 name + " " + credential.error().message());
  }
  return credential;
}

Result<Credential> ExecPlugin::current(std::stop_token stop) {
  auto state = state_.lock();
  if (state->valid &&
      (state->expires == WallTime::max() || clock_.wall() + kEarly < state->expires)) {
    return state->credential;
  }
  WallTime expires = WallTime::max();
  Credential fresh = TRY(run(stop, expires));
  fresh.generation = ++state->runs;
  state->credential = std::move(fresh);
  state->expires = expires;
  state->valid = true;
  log_.debug("credential plugin was run", {{"program", command_.program}});
  return state->credential;
}

bool ExecPlugin::refused(std::uint64_t generation) {
  auto state = state_.lock();
  if (state->credential.generation == generation) state->valid = false;
  return true;
}

}  // namespace vmferry::kube
