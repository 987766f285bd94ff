#include "tests/cli/support/copy_program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <thread>

#include "common/fd.h"
#include "tests/support/places.h"

namespace vmferry::testing {
namespace {

std::string program() { return build_dir() + "/vmferry"; }

std::string text_of(const std::string& path) {
  Result<std::string> text = read_file(path, 4u << 20);
  return text ? *text : std::string();
}

}  // namespace

bool has_copy_program() { return ::access(program().c_str(), X_OK) == 0; }

CopyProgram::CopyProgram(const Workspace& workspace, const std::vector<std::string>& words)
    : out_path_(workspace.path("copy.out")), err_path_(workspace.path("copy.err")) {
  std::vector<std::string> all{program(), "copy"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ != 0) return;
  const int out = ::open(out_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int err = ::open(err_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

CopyProgram::~CopyProgram() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void CopyProgram::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

void CopyProgram::wait_until_it_says(const std::string& word) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (text_of(err_path_).find(word) == std::string::npos) {
    if (std::chrono::steady_clock::now() >= deadline) {
      ADD_FAILURE() << "vmferry copy never said '" << word << "': " << text_of(err_path_);
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

CopyOutcome CopyProgram::wait(std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      ADD_FAILURE() << "vmferry copy hangs: " << text_of(err_path_);
      ::kill(pid_, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  pid_ = -1;
  const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return {code, text_of(out_path_), text_of(err_path_)};
}

CopyOutcome run_copy(const Workspace& workspace, const std::vector<std::string>& words) {
  return CopyProgram(workspace, words).wait();
}

TlsFileServer::TlsFileServer(const Workspace& workspace, const TestPki& pki,
                             const std::string& disk_path) {
  const std::string port_file = workspace.path("https.port");
  peer_.emplace(std::vector<std::string>{
      "/usr/bin/python3", source_dir() + "/tests/support/lying_http_server.py", "--port-file",
      port_file, "--file", disk_path, "--tls", pki.certificate(), pki.key()});
  EXPECT_TRUE(wait_for_file(port_file, std::chrono::seconds(20))) << peer_->stderr_text();
  origin_ = "https://localhost:" + text_of(port_file);
}

std::string TlsFileServer::url(const std::string& mode) const {
  return origin_ + "/files/" + mode + "/disk";
}

std::string TlsFileServer::image_url(const std::string& mode) const {
  return origin_ + "/images/" + mode;
}

}  // namespace vmferry::testing
