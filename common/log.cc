#include "common/log.h"

#include <unistd.h>

#include <cstdlib>
#include <mutex>

#include <nlohmann/json.hpp>

#include "common/clock.h"

namespace vmferry {
namespace {

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::Debug:
      return "debug";
    case LogLevel::Info:
      return "info";
    case LogLevel::Warn:
      return "warn";
    case LogLevel::Error:
      return "error";
  }
  return "error";
}

nlohmann::ordered_json json_of(const LogField& field) {
  return std::visit([](const auto& value) { return nlohmann::ordered_json(value); }, field.value);
}

std::string json_line(LogLevel level, std::string_view message, const LogFields& fields) {
  nlohmann::ordered_json line;
  line["time"] = to_rfc3339_micro(std::chrono::system_clock::now());
  line["level"] = name_of(level);
  line["message"] = message;
  for (const LogField& field : fields) line[field.key] = json_of(field);
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string text_line(LogLevel level, std::string_view message, const LogFields& fields) {
  std::string line = fmt::format("{} {:5} {}", to_rfc3339_micro(std::chrono::system_clock::now()),
                                 name_of(level), message);
  for (const LogField& field : fields) {
    line +=
        fmt::format(" {}={}", field.key,
                    json_of(field).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return line + "\n";
}

class FdLogSink final : public LogSink {
 public:
  FdLogSink(int fd, bool text, LogLevel least) : fd_(fd), text_(text), least_(least) {}

  void write(LogLevel level, std::string_view message, const LogFields& fields) override {
    if (level < least_) return;
    const std::string line =
        text_ ? text_line(level, message, fields) : json_line(level, message, fields);
    const std::lock_guard lock(mutex_);
    std::string_view rest = line;
    while (!rest.empty()) {
      const ssize_t count = ::write(fd_, rest.data(), rest.size());
      if (count <= 0) return;  // nowhere left to complain
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
  }

 private:
  std::mutex mutex_;
  int fd_;
  bool text_;
  LogLevel least_;
};

void add_error(LogFields& fields, const Error& error) {
  fields.emplace_back("error", fmt::format("{}: {}", to_string(error.kind()), error.message()));
  if (!error.code().empty()) fields.emplace_back("code", error.code());
}

}  // namespace

std::shared_ptr<LogSink> make_fd_log_sink(int fd, bool text, LogLevel least) {
  return std::make_shared<FdLogSink>(fd, text, least);
}

Logger Logger::with(LogFields fields) const {
  Logger narrowed = *this;
  for (LogField& field : fields) narrowed.fields_.push_back(std::move(field));
  return narrowed;
}

void Logger::write(LogLevel level, std::string_view message, LogFields fields) const {
  if (!sink_) return;
  LogFields all = fields_;
  for (LogField& field : fields) all.push_back(std::move(field));
  sink_->write(level, message, all);
}

void Logger::debug(std::string_view message, LogFields fields) const {
  write(LogLevel::Debug, message, std::move(fields));
}
void Logger::info(std::string_view message, LogFields fields) const {
  write(LogLevel::Info, message, std::move(fields));
}
void Logger::warn(std::string_view message, LogFields fields) const {
  write(LogLevel::Warn, message, std::move(fields));
}
void Logger::warn(std::string_view message, const Error& error, LogFields fields) const {
  add_error(fields, error);
  write(LogLevel::Warn, message, std::move(fields));
}
void Logger::error(std::string_view message, LogFields fields) const {
  write(LogLevel::Error, message, std::move(fields));
}
void Logger::error(std::string_view message, const Error& error, LogFields fields) const {
  add_error(fields, error);
  write(LogLevel::Error, message, std::move(fields));
}

Logger make_stderr_logger(std::string_view program) {
  const char* wanted = std::getenv("VMFERRY_LOG");
  const std::string_view level = wanted != nullptr ? wanted : "info";
  LogLevel least = LogLevel::Info;
  if (level == "debug") least = LogLevel::Debug;
  if (level == "warn") least = LogLevel::Warn;
  if (level == "error") least = LogLevel::Error;
  return Logger(make_fd_log_sink(STDERR_FILENO, ::isatty(STDERR_FILENO) == 1, least))
      .with({{"program", program}});
}

}  // namespace vmferry
