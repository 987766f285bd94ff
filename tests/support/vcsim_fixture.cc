#include "tests/support/vcsim_fixture.h"

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

std::string program() {
  if (const char* named = std::getenv("VMFERRY_VCSIM_BED")) return named;
  return std::filesystem::path(build_dir()).parent_path() / "vcsim-bed";
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

std::string VcsimBed::missing() {
  if (access(program().c_str(), X_OK) == 0) return {};
  return "needs vcsim-bed (tests/support/vcsim/build.sh), looked for " + program();
}

std::unique_ptr<VcsimBed> VcsimBed::start(Options options) {
  auto bed = std::unique_ptr<VcsimBed>(new VcsimBed);
  bed->options_ = std::move(options);
  std::string pattern = std::filesystem::temp_directory_path() / "vmferry-vcsim-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    ADD_FAILURE() << "no temporary directory";
    return nullptr;
  }
  bed->directory_ = pattern;
  const std::string& dir = bed->directory_;
  std::ofstream(dir + "/bed.json") << bed->options_.inventory.dump();
  std::ofstream(dir + "/password") << bed->options_.password << '\n';
  if (run({source_dir() + "/tests/support/pki.sh", dir + "/pki", "vcenter"}) != 0) {
    ADD_FAILURE() << "pki.sh failed";
    return nullptr;
  }

  std::vector<std::string> words = {program(),
                                    "--cert",
                                    dir + "/pki/vcenter.pem",
                                    "--key",
                                    dir + "/pki/vcenter.key",
                                    "--user",
                                    bed->options_.user,
                                    "--password-file",
                                    dir + "/password",
                                    "--inventory",
                                    dir + "/bed.json",
                                    "--state",
                                    dir + "/state",
                                    "--pid-with-parent"};
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
    ADD_FAILURE() << "vcsim-bed did not come up, it said: " << line;
    return nullptr;
  }
  return bed;
}

VcsimBed::~VcsimBed() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;  // a directory that stays is no failure of the test
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

void VcsimBed::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

const nlohmann::json& VcsimBed::vm(const std::string& name) const {
  for (const nlohmann::json& vm : ready_.at("vms")) {
    if (vm.at("name") == name) return vm;
  }
  ADD_FAILURE() << "no VM named " << name;
  return ready_;
}

nlohmann::json VcsimBed::state() const {
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

nlohmann::json VcsimBed::post(const std::string& route, const nlohmann::json& body) const {
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
