#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/error.h"

namespace vmferry {

enum class LogLevel { Debug, Info, Warn, Error };

// One typed field of a log line. Keys are the same everywhere: import disk agent node job attempt
// phase bytes offset code error seconds.
struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string(v)) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, std::int64_t v) : key(k), value(v) {}
  LogField(std::string_view k, int v) : key(k), value(std::int64_t{v}) {}
  LogField(std::string_view k, std::uint64_t v) : key(k), value(static_cast<std::int64_t>(v)) {}

  std::string key;
  std::variant<std::string, double, bool, std::int64_t> value;
};
using LogFields = std::vector<LogField>;

// Where lines go. Thread-safe. JSON, one object a line, unless stderr is a terminal.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(LogLevel level, std::string_view message, const LogFields& fields) = 0;
};

// A line writer on file descriptor `fd`; `text` chooses the form for people.
std::shared_ptr<LogSink> make_fd_log_sink(int fd, bool text, LogLevel least);

// Passed in and narrowed with with(). A constant message and typed fields.
class Logger {
 public:
  Logger() = default;  // drops everything: for tests
  explicit Logger(std::shared_ptr<LogSink> sink) : sink_(std::move(sink)) {}

  Logger with(LogFields fields) const;
  void debug(std::string_view message, LogFields fields = {}) const;
  void info(std::string_view message, LogFields fields = {}) const;
  void warn(std::string_view message, LogFields fields = {}) const;
  void warn(std::string_view message, const Error& error, LogFields fields = {}) const;
  void error(std::string_view message, LogFields fields = {}) const;
  void error(std::string_view message, const Error& error, LogFields fields = {}) const;

 private:
  void write(LogLevel level, std::string_view message, LogFields fields) const;
  std::shared_ptr<LogSink> sink_;
  LogFields fields_;
};

// To stderr: text when it is a terminal, else JSON. Level from VMFERRY_LOG (debug, info, warn,
// error).
Logger make_stderr_logger(std::string_view program);

}  // namespace vmferry
