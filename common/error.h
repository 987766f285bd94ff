#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace vmferry {

// What went wrong, in the one respect that steers the caller. The set follows gRPC's status codes.
enum class ErrorKind {
  Canceled,           // we were asked to stop
  InvalidArgument,    // the input is wrong; trying again cannot help
  NotFound,           // the named object does not exist
  AlreadyExists,      // somebody else's object has the name
  Aborted,            // a write conflict: read again and retry
  PermissionDenied,   // credentials refused, ticket expired, certificate not trusted
  ResourceExhausted,  // disk full, quota, limit of a peer
  Unavailable,        // the peer is gone or answers 5xx: try again later
  DeadlineExceeded,   // the peer did not answer in time
  DataLoss,           // bytes are missing, or differ from what they must be
  Unimplemented,      // the peer or we cannot do this
  Internal,           // an invariant of ours or of a library broke
};

std::string_view to_string(ErrorKind kind);
// The inverse of to_string; an unknown name is Internal (peers of another version may send one).
ErrorKind error_kind_from_string(std::string_view name);

// The only place that decides on retries: Aborted, ResourceExhausted of a peer is not one of them.
bool is_retryable(ErrorKind kind);

// A failure as a value. `code` is the stable id of a catalogue entry (common/catalogue.h) where a
// person will see the error, else empty. The text names what failed and on which object, has no
// final period and never holds a secret.
class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  Error(ErrorKind kind, std::string_view code, std::string message)
      : kind_(kind), code_(code), message_(std::move(message)) {}

  ErrorKind kind() const { return kind_; }
  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }

  // Puts "what: " before the text; whoever knows a name adds it.
  Error with_context(std::string_view what) &&;
  Error with_context(std::string_view what) const&;
  Error with_code(std::string_view code) &&;

  friend bool operator==(const Error&, const Error&) = default;

 private:
  ErrorKind kind_;
  std::string code_;
  std::string message_;
};

// "Unavailable: cannot reach https://...: connection refused [VMF-SRC-UNREACHABLE]"
std::string to_string(const Error& error);

template <typename... Args>
Error make_error(ErrorKind kind, fmt::format_string<Args...> text, Args&&... args) {
  return Error(kind, fmt::format(text, std::forward<Args>(args)...));
}

template <typename... Args>
Error coded_error(ErrorKind kind, std::string_view code, fmt::format_string<Args...> text,
                  Args&&... args) {
  return Error(kind, code, fmt::format(text, std::forward<Args>(args)...));
}

// An Error for a failed system call: ENOSPC and EDQUOT become ResourceExhausted, ENOENT NotFound,
// EACCES and EPERM PermissionDenied, EEXIST AlreadyExists, EINTR and connection errors Unavailable,
// EIO DataLoss, the rest Internal. `what` says which call on which object.
Error errno_error(int error_number, std::string_view what);

// In a `catch (...)`: what a library threw, as an Error. No memory and no thread to be had is
// Unavailable, for that passes; the rest Internal. `what` says which work broke off.
Error caught_error(std::string_view what);

}  // namespace vmferry
