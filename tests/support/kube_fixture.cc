#include "tests/support/kube_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/http_client.h"
#include "tests/support/places.h"

extern char** environ;

namespace vmferry::testing {
namespace {

constexpr std::chrono::seconds kStartLimit{100};
constexpr const char* kPython = "/usr/bin/python3";

std::string programs() {
  if (const char* named = std::getenv("VMFERRY_KUBE_BIN")) return named;
  return std::filesystem::path(build_dir()).parent_path() / "kube";
}

// One line from `fd`, or what came before the time was over.
std::string read_line(int fd) {
  std::string line;
  const auto until = std::chrono::steady_clock::now() + kStartLimit;
  while (!line.ends_with('\n')) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd waiting{fd, POLLIN, 0};
    if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) break;
    char c = 0;
    if (read(fd, &c, 1) != 1) break;
    line += c;
  }
  return line;
}

std::string content(const std::string& path) {
  auto text = read_file(path);
  EXPECT_TRUE(text.ok()) << path;
  return text.ok() ? *text : "";
}

}  // namespace

std::string KubeBed::missing() {
  if (access(kPython, X_OK) != 0) return "needs /usr/bin/python3";
  for (const char* name : {"etcd", "kube-apiserver", "kube-controller-manager"}) {
    if (access((programs() + "/" + name).c_str(), X_OK) != 0) {
      return std::string("needs ") + name + " (tests/support/kube/build.sh), looked in " +
             programs();
    }
  }
  return {};
}

KubeBed* KubeBed::shared() {
  static const std::unique_ptr<KubeBed> bed = start({});
  if (!bed) ADD_FAILURE() << "the shared control plane did not come up";
  return bed.get();
}

std::unique_ptr<KubeBed> KubeBed::start(const Options& options) {
  auto bed = std::unique_ptr<KubeBed>(new KubeBed);
  ::setenv("VMFERRY_KUBE_BIN", programs().c_str(), 1);
  std::vector<std::string> words{kPython, source_dir() + "/tests/support/kube/bed.py"};
  if (!options.controllers) words.emplace_back("--no-controllers");
  if (options.scheduler) words.emplace_back("--scheduler");
  words.emplace_back("--");
  words.insert(words.end(), options.apiserver_flags.begin(), options.apiserver_flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int out[2] = {-1, -1};
  int in[2] = {-1, -1};
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(in, O_CLOEXEC) != 0) return nullptr;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  const int spawned = posix_spawn(&bed->pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(in[0]);
  bed->out_ = UniqueFd(out[0]);
  bed->in_ = UniqueFd(in[1]);
  if (spawned != 0) bed->pid_ = -1;
  const std::string line = spawned == 0 ? read_line(bed->out_.get()) : std::string();
  bed->ready_ = nlohmann::json::parse(line, nullptr, false);
  if (!bed->ready_.is_object()) {
    ADD_FAILURE() << "the control plane did not come up, it said: " << line;
    return nullptr;
  }
  return bed;
}

KubeBed::~KubeBed() {
  in_ = UniqueFd();  // the end of its input ends it
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

void KubeBed::command(const std::string& line) {
  const std::string text = line + "\n";
  ASSERT_EQ(write(in_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  const std::string answer = read_line(out_.get());
  const nlohmann::json json = nlohmann::json::parse(answer, nullptr, false);
  ASSERT_TRUE(json.is_object() && json.contains("result")) << line << ": " << answer;
}

std::string KubeBed::strictly_decoded(const std::vector<nlohmann::json>& objects) {
  const char* const named = std::getenv("VMFERRY_STRICT_DECODE");
  const std::string program = named != nullptr ? named : build_dir() + "/../strict-decode";
  if (access(program.c_str(), X_OK) != 0) return "needs " + program;
  std::string file = std::filesystem::temp_directory_path() / "vmferry-strict-XXXXXX";
  const UniqueFd fd(mkstemp(file.data()));
  std::ofstream lines(file);
  for (const nlohmann::json& object : objects) lines << object.dump() << '\n';
  lines.close();
  std::string told;
  FILE* const pipe = popen(("'" + program + "' < " + file + " 2>&1 | grep -v '^ok '").c_str(), "r");
  if (pipe == nullptr) return "cannot run " + program;
  std::array<char, 4096> buffer{};
  while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
    told.append(buffer.data(), got);
  }
  pclose(pipe);
  std::filesystem::remove(file);
  return told;
}

std::string KubeBed::ca_pem() const { return content(ready_.at("ca")); }
std::string KubeBed::admin_certificate() const { return content(ready_.at("admin_cert")); }
std::string KubeBed::admin_key() const { return content(ready_.at("admin_key")); }

std::pair<int, nlohmann::json> KubeBed::try_request(const std::string& method,
                                                    const std::string& path,
                                                    const nlohmann::json& body,
                                                    const std::string& content_type) const {
  HttpClient::Options options;
  options.trust.ca_pem = ca_pem();
  options.client_certificate_pem = admin_certificate();
  options.client_key_pem = SecretString(admin_key());
  const auto client = HttpClient::make(std::move(options));
  HttpRequest request;
  request.method = method;
  request.url = url() + path;
  request.headers = {{"Content-Type", content_type}};
  if (!body.is_null()) request.body = body.dump();
  const auto response = (*client)->send(request, {});
  if (!response.ok()) return {0, response.error().message()};
  nlohmann::json json = nlohmann::json::parse(response->body, nullptr, false);
  if (json.is_discarded()) json = response->body;
  return {response->status, std::move(json)};
}

nlohmann::json KubeBed::request(const std::string& method, const std::string& path,
                                const nlohmann::json& body) const {
  auto [status, answer] = try_request(method, path, body);
  // 429: the storage of a kind that was just installed is made anew.
  for (int tries = 0; status == 429 && tries < 30; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    std::tie(status, answer) = try_request(method, path, body);
  }
  EXPECT_TRUE(status >= 200 && status < 300)
      << method << " " << path << ": " << status << " " << answer.dump();
  return answer;
}

std::string KubeBed::make_namespace(const std::string& prefix) {
  const std::string name = prefix + std::to_string(++namespaces_) + "-" + std::to_string(getpid());
  request("POST", "/api/v1/namespaces", {{"metadata", {{"name", name}}}});
  const std::string account = "/api/v1/namespaces/" + name + "/serviceaccounts/default";
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (try_request("GET", account).first != 200) {
    if (std::chrono::steady_clock::now() > until) {
      ADD_FAILURE() << name << " got no service account";
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return name;
}

std::string KubeBed::token(const std::string& ns, const std::string& account,
                           const std::vector<std::string>& audiences) const {
  nlohmann::json spec{{"expirationSeconds", 3600}};
  if (!audiences.empty()) spec["audiences"] = audiences;
  const nlohmann::json answer =
      request("POST", "/api/v1/namespaces/" + ns + "/serviceaccounts/" + account + "/token",
              {{"apiVersion", "authentication.k8s.io/v1"},
               {"kind", "TokenRequest"},
               {"spec", std::move(spec)}});
  return answer.contains("status") ? answer["status"].value("token", "") : "";
}

}  // namespace vmferry::testing
