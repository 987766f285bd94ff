#include "tests/support/ovirt_engine_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/http_client.h"
#include "tests/support/places.h"

extern char** environ;

namespace vmferry::testing {
namespace {

constexpr std::chrono::seconds kStartLimit{30};

constexpr const char* kPython = "/usr/bin/python3";

std::string program() { return source_dir() + "/tests/support/ovirt/engine.py"; }

void write_image(const std::string& path, std::uint64_t size) {
  std::ofstream file(path, std::ios::binary);
  for (std::uint64_t offset = 0; offset + 512 <= size && offset < (1u << 20); offset += 512) {
    const std::string head = std::to_string(offset / 512);
    std::string sector(512, '\0');
    sector.replace(0, head.size(), head);
    file << sector;
  }
  file.close();
  std::filesystem::resize_file(path, size);
}

int run(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  if (posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return -1;
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
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

}  // namespace

std::string OvirtBed::missing() {
  if (access(kPython, X_OK) != 0) return "needs /usr/bin/python3";
  if (access(program().c_str(), R_OK) != 0) return "needs " + program();
  for (const char* tool : {"/usr/bin/qemu-img", "/usr/bin/qemu-nbd"}) {
    if (access(tool, X_OK) != 0) return std::string("needs ") + tool + " (qemu-utils)";
  }
  return {};
}

std::unique_ptr<OvirtBed> OvirtBed::start(Options options) {
  auto bed = std::unique_ptr<OvirtBed>(new OvirtBed);
  bed->options_ = std::move(options);
  std::string pattern = std::filesystem::temp_directory_path() / "vmferry-ovirt-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    ADD_FAILURE() << "no temporary directory";
    return nullptr;
  }
  bed->directory_ = pattern;
  const std::string& dir = bed->directory_;
  std::ofstream(dir + "/bed.json") << bed->options_.inventory.dump();
  std::ofstream(dir + "/password") << bed->options_.password << '\n';
  for (const auto& [name, size] : bed->options_.images) write_image(dir + "/" + name, size);
  if (run({source_dir() + "/tests/support/pki.sh", dir + "/pki", "engine"}) != 0 ||
      run({source_dir() + "/tests/support/pki.sh", dir + "/host-pki", "host"}) != 0) {
    ADD_FAILURE() << "pki.sh failed";
    return nullptr;
  }

  std::vector<std::string> words = {kPython,
                                    program(),
                                    "--cert",
                                    dir + "/pki/engine.pem",
                                    "--key",
                                    dir + "/pki/engine.key",
                                    "--ca",
                                    dir + "/pki/ca.pem",
                                    "--user",
                                    bed->options_.user,
                                    "--inventory",
                                    dir + "/bed.json",
                                    "--state",
                                    dir + "/state",
                                    "--imageio",
                                    "builtin",
                                    "--exit-with-parent",
                                    "--password-file",
                                    dir + "/password"};
  if (bed->options_.separate_host_authority) {
    for (const std::string& word :
         {std::string("--imageio-cert"), dir + "/host-pki/host.pem", std::string("--imageio-key"),
          dir + "/host-pki/host.key", std::string("--internal-ca"), dir + "/host-pki/ca.pem"}) {
      words.push_back(word);
    }
  }
  words.insert(words.end(), bed->options_.flags.begin(), bed->options_.flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int out[2] = {-1, -1};
  if (pipe2(out, O_CLOEXEC) != 0) return nullptr;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  const int spawned = posix_spawn(&bed->pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  const std::string line = spawned == 0 ? read_line(out[0]) : std::string();
  close(out[0]);
  bed->ready_ = nlohmann::json::parse(line, nullptr, false);
  if (!bed->ready_.is_object()) {
    ADD_FAILURE() << "the engine did not come up, it said: " << line;
    return nullptr;
  }
  return bed;
}

OvirtBed::~OvirtBed() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;  // a directory that stays is no failure of the test
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

void OvirtBed::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

const nlohmann::json& OvirtBed::vm(const std::string& name) const {
  for (const nlohmann::json& vm : ready_.at("vms")) {
    if (vm.at("name") == name) return vm;
  }
  ADD_FAILURE() << "no VM named " << name;
  return ready_;
}

std::string OvirtBed::ca_pem() const {
  std::ifstream file(directory_ + "/pki/ca.pem");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

int OvirtBed::requests(const std::string& method, const std::string& part) const {
  int count = 0;
  const nlohmann::json now = state();
  for (const nlohmann::json& request : now.value("requests", nlohmann::json::array())) {
    if (request.value("method", "") == method &&
        request.value("path", "").find(part) != std::string::npos) {
      ++count;
    }
  }
  return count;
}

nlohmann::json OvirtBed::state() const {
  const auto client = HttpClient::make({});
  HttpRequest request;
  request.url = ready_.at("control").get<std::string>() + "/state";
  const auto response = (*client)->send(request, {});
  if (!response.ok() || response->status != 200) {
    ADD_FAILURE() << "GET /state failed";
    return {};
  }
  return nlohmann::json::parse(response->body, nullptr, false);
}

nlohmann::json OvirtBed::post(const std::string& route, const nlohmann::json& body) const {
  const auto client = HttpClient::make({});
  HttpRequest request;
  request.method = "POST";
  request.url = ready_.at("control").get<std::string>() + route;
  request.body = body.dump();
  const auto response = (*client)->send(request, {});
  if (!response.ok() || response->status != 200) {
    ADD_FAILURE() << "POST " << route << ": "
                  << (response.ok() ? response->body : response.error().message());
    return {};
  }
  return nlohmann::json::parse(response->body, nullptr, false);
}

}  // namespace vmferry::testing
