#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/transfer/support/source_peers.h"

namespace vmferry::testing {

// A run of the real `vmferry copy`.
struct CopyOutcome {
  int exit_code = -1;  // 128 + N when signal N ended it
  std::string out;
  std::string err;
  nlohmann::json figures() const { return nlohmann::json::parse(out, nullptr, false); }
};

class CopyProgram {
 public:
  // Starts `vmferry copy WORDS...`; its output goes to files in `workspace`.
  CopyProgram(const Workspace& workspace, const std::vector<std::string>& words);
  ~CopyProgram();
  CopyProgram(const CopyProgram&) = delete;
  CopyProgram& operator=(const CopyProgram&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  // Until it said `word` on stderr; fails the test when that takes longer than a minute.
  void wait_until_it_says(const std::string& word) const;
  // Waits to the end. A program that takes longer than `limit` is killed and fails the test.
  CopyOutcome wait(std::chrono::seconds limit = std::chrono::seconds(60));

 private:
  std::string out_path_;
  std::string err_path_;
  pid_t pid_ = -1;
};

bool has_copy_program();
CopyOutcome run_copy(const Workspace& workspace, const std::vector<std::string>& words);

// tests/support/lying_http_server.py over TLS.
class TlsFileServer {
 public:
  TlsFileServer(const Workspace& workspace, const TestPki& pki, const std::string& disk_path);
  std::string url(const std::string& mode) const;
  std::string image_url(const std::string& mode) const;  // of an imageio ticket

 private:
  std::string origin_;
  std::optional<Peer> peer_;
};

}  // namespace vmferry::testing
