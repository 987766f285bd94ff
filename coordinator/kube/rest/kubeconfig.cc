#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>

#include "common/catalogue.h"
#include "common/fd.h"
#include "common/http_client.h"
#include "coordinator/api/yaml.h"
#include "coordinator/kube/rest/access.h"
#include "coordinator/kube/rest/exec_plugin.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxFileBytes = 4u << 20;

// A named entry of a kubeconfig and the folder that its relative paths start from.
struct Entry {
  std::string label;  // "user 'admin' of /root/.kube/config", for errors
  std::string folder;
  json value = json::object();

  std::string text(const char* key) const {
    const auto found = value.find(key);
    return found != value.end() && found->is_string() ? found->get<std::string>() : "";
  }
  bool flag(const char* key) const {
    const auto found = value.find(key);
    return found != value.end() && *found == true;
  }
  std::string path(const char* key) const {
    const std::string file = text(key);
    if (file.empty() || file.starts_with('/')) return file;
    return (std::filesystem::path(folder) / file).string();
  }
  Error bad(const std::string& what) const {
    return {ErrorKind::InvalidArgument, code::kClusterCredentials, label + ": " + what};
  }
  // KEY-data in base64, else the file that KEY names; empty when there is neither.
  Result<std::string> inline_or_file(const std::string& key) const {
    const std::string inline_text = text((key + "-data").c_str());
    if (!inline_text.empty()) {
      Result<std::string> decoded = base64_decode(inline_text);
      if (!decoded) return bad(key + "-data is not base64");
      return decoded;
    }
    const std::string file = path(key.c_str());
    if (file.empty()) return std::string();
    Result<std::string> content = read_file(file, kMaxFileBytes);
    if (!content) return bad(key + ": " + content.error().message());
    return content;
  }
};

struct File {
  std::string path;
  json value;
};

Result<std::vector<File>> read_files(const std::string& list) {
  std::vector<File> files;
  std::istringstream paths(list);
  const bool is_list = list.find(':') != std::string::npos;
  for (std::string path; std::getline(paths, path, ':');) {
    if (path.empty()) continue;
    Result<std::string> text = read_file(path, kMaxFileBytes);
    if (!text) {
      // As kubectl: of a list, files need not exist.
      if (is_list && text.error().kind() == ErrorKind::NotFound) continue;
      return Error(std::move(text).error()).with_code(code::kClusterCredentials);
    }
    Result<std::vector<api::YamlDocument>> documents = api::parse_yaml(*text, path);
    // The parser's own text may quote the line, and so a secret.
    if (!documents) {
      return coded_error(ErrorKind::InvalidArgument, code::kClusterCredentials,
                         "{}: is not valid YAML", path);
    }
    for (api::YamlDocument& document : *documents) {
      if (document.value.is_object()) files.push_back({path, std::move(document.value)});
    }
  }
  if (files.empty()) {
    return coded_error(ErrorKind::NotFound, code::kClusterCredentials,
                       "no kubeconfig: '{}' names no file with content", list);
  }
  return files;
}

// The first entry of that name: `list` is "users", `inner` is "user".
std::optional<Entry> find_entry(const std::vector<File>& files, const char* list, const char* inner,
                                const std::string& name) {
  for (const File& file : files) {
    const auto entries = file.value.find(list);
    if (entries == file.value.end() || !entries->is_array()) continue;
    for (const json& entry : *entries) {
      if (!entry.is_object() || entry.value("name", json()) != name) continue;
      const auto value = entry.find(inner);
      const bool usable = value != entry.end() && value->is_object();
      return Entry{.label = fmt::format("{} '{}' of {}", inner, name, file.path),
                   .folder = std::filesystem::path(file.path).parent_path().string(),
                   .value = usable ? *value : json::object()};
    }
  }
  return std::nullopt;
}

std::string current_context(const std::vector<File>& files) {
  for (const File& file : files) {
    const auto found = file.value.find("current-context");
    if (found != file.value.end() && found->is_string() && *found != "") {
      return found->get<std::string>();
    }
  }
  return "";
}

Result<void> read_cluster(const Entry& cluster, Access& access) {
  access.server = cluster.text("server");
  while (access.server.ends_with('/')) access.server.pop_back();
  const Result<UrlParts> url = parse_url(access.server);
  if (!url) return cluster.bad("server is not a URL");
  if (cluster.flag("insecure-skip-tls-verify")) {
    return cluster.bad("insecure-skip-tls-verify is not supported: give certificate-authority");
  }
  if (!cluster.text("proxy-url").empty()) return cluster.bad("proxy-url is not supported");
  access.tls_server_name = cluster.text("tls-server-name");
  const std::string ca = TRY(cluster.inline_or_file("certificate-authority"));
  if (!ca.empty()) {
    Result<std::string> checked = parse_ca_certificates(ca);
    if (!checked) return cluster.bad("certificate-authority: " + checked.error().message());
    access.trust.ca_pem = *std::move(checked);
  }
  return {};
}

Result<std::shared_ptr<Credentials>> read_user(const Entry& user, const Access& access,
                                               const Entry& cluster, const Clock& clock,
                                               const Logger& log) {
  Credential fixed;
  fixed.generation = 1;
  fixed.certificate_pem = TRY(user.inline_or_file("client-certificate"));
  fixed.key_pem = SecretString(TRY(user.inline_or_file("client-key")));
  if (fixed.certificate_pem.empty() != fixed.key_pem.empty()) {
    return user.bad("client-certificate and client-key belong together");
  }
  // The file wins over the text beside it, as with kubectl: it is the one that rotates.
  if (const std::string file = user.path("tokenFile"); !file.empty()) {
    fixed.generation = 0;
    return std::shared_ptr<Credentials>(std::make_shared<TokenFile>(file, fixed, clock));
  }
  if (const std::string token = user.text("token"); !token.empty()) {
    Result<SecretString> bearer = bearer_authorization(token);
    if (!bearer) return user.bad(bearer.error().message());
    fixed.authorization = *std::move(bearer);
  } else if (const std::string name = user.text("username"); !name.empty()) {
    fixed.authorization = basic_authorization(name, SecretString(user.text("password")));
  } else if (const auto exec = user.value.find("exec"); exec != user.value.end()) {
    Result<ExecPlugin::Command> command = parse_exec(*exec, user.folder);
    if (!command) return user.bad(command.error().message());
    if (command->provide_cluster) {
      command->cluster = {{"server", access.server},
                          {"certificate-authority-data", base64_encode(access.trust.ca_pem)}};
      if (!access.tls_server_name.empty()) {
        command->cluster["tls-server-name"] = access.tls_server_name;
      }
      // Per-cluster configuration of the plugin, by the name that kubectl reserves for it.
      for (const json& extension : cluster.value.value("extensions", json::array())) {
        if (extension.is_object() &&
            extension.value("name", json()) == "client.authentication.k8s.io/exec") {
          command->cluster["config"] = extension.value("extension", json());
        }
      }
    }
    return std::shared_ptr<Credentials>(
        std::make_shared<ExecPlugin>(*std::move(command), fixed, clock, log));
  } else if (user.value.contains("auth-provider")) {
    return user.bad("auth-provider is no longer supported by Kubernetes: use an exec plugin");
  }
  return std::shared_ptr<Credentials>(std::make_shared<FixedCredentials>(std::move(fixed)));
}

}  // namespace

Result<Access> kubeconfig_access(const KubeconfigOptions& options, const Clock& clock,
                                 const Logger& log) {
  const std::vector<File> files = TRY(read_files(options.files));
  const std::string name = options.context.empty() ? current_context(files) : options.context;
  const auto missing = [&](const std::string& what) {
    return coded_error(ErrorKind::InvalidArgument, code::kClusterCredentials, "{}: {}",
                       options.files, what);
  };
  if (name.empty()) return missing("has no current-context, and none was named");
  const std::optional<Entry> context = find_entry(files, "contexts", "context", name);
  if (!context) return missing("has no context '" + name + "'");
  const std::string cluster_name = context->text("cluster");
  const std::optional<Entry> cluster = find_entry(files, "clusters", "cluster", cluster_name);
  if (!cluster) return missing("has no cluster '" + cluster_name + "'");
  Access access;
  TRY(read_cluster(*cluster, access));
  Entry user;
  if (const std::string user_name = context->text("user"); !user_name.empty()) {
    std::optional<Entry> found = find_entry(files, "users", "user", user_name);
    if (!found) return missing("has no user '" + user_name + "'");
    user = *std::move(found);
  }
  access.credentials = TRY(read_user(user, access, *cluster, clock, log));
  if (const std::string ns = context->text("namespace"); !ns.empty()) access.ns = ns;
  return access;
}

}  // namespace vmferry::kube
