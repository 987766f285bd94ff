#include "transfer/sources/stderr_tail.h"

#include <algorithm>
#include <utility>

namespace vmferry {
namespace {

constexpr std::size_t kMaxLine = 1000;

}  // namespace

StderrTail::StderrTail(std::vector<SecretString> secrets, std::size_t most_lines)
    : secrets_(std::move(secrets)), most_lines_(most_lines) {}

void StderrTail::add(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  for (const char c : bytes) {
    if (c == '\n') {
      end_line();
    } else if (partial_.size() < kMaxLine) {
      const auto byte = static_cast<unsigned char>(c);
      partial_ += byte < 0x20 || byte == 0x7f ? ' ' : c;
    }
  }
}

void StderrTail::end_line() {
  std::string line = std::exchange(partial_, {});
  for (const SecretString& secret : secrets_) {
    const std::string& text = secret.reveal();
    for (std::size_t at = line.find(text); !text.empty() && at != std::string::npos;
         at = line.find(text, at + 3)) {
      line.replace(at, text.size(), "***");
    }
  }
  // How nbdkit shows its parameters; "incorrect user name or password" must come through.
  const bool tells_password =
      line.find("key=password") != std::string::npos || line.find("password=") != std::string::npos;
  if (line.empty() || tells_password) return;
  lines_.push_back(line);
  if (lines_.size() > most_lines_) lines_.pop_front();
  if (on_line_) on_line_(line);
}

std::vector<std::string> StderrTail::lines() const {
  const std::lock_guard lock(mutex_);
  return {lines_.begin(), lines_.end()};
}

}  // namespace vmferry
