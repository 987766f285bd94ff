#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/secret.h"

namespace vmferry {

// The last lines that a child wrote, without secrets: lines that tell the password parameter are
// dropped, and the texts given are replaced wherever they appear. Thread-safe.
class StderrTail {
 public:
  explicit StderrTail(std::vector<SecretString> secrets, std::size_t most_lines = 50);

  // Bytes as they come, in pieces of any size.
  void add(std::string_view bytes);
  std::vector<std::string> lines() const;
  // Called for each whole line, cleaned, from the thread that adds.
  void on_line(std::function<void(const std::string&)> callback) { on_line_ = std::move(callback); }

 private:
  void end_line();

  const std::vector<SecretString> secrets_;
  const std::size_t most_lines_;
  std::function<void(const std::string&)> on_line_;
  mutable std::mutex mutex_;
  std::string partial_;
  std::deque<std::string> lines_;
};

}  // namespace vmferry
