#include "common/error.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

#include "common/catalogue.h"

namespace vmferry {
namespace {

constexpr std::array<std::pair<ErrorKind, std::string_view>, 12> kKindNames{{
    {ErrorKind::Canceled, "Canceled"},
    {ErrorKind::InvalidArgument, "InvalidArgument"},
    {ErrorKind::NotFound, "NotFound"},
    {ErrorKind::AlreadyExists, "AlreadyExists"},
    {ErrorKind::Aborted, "Aborted"},
    {ErrorKind::PermissionDenied, "PermissionDenied"},
    {ErrorKind::ResourceExhausted, "ResourceExhausted"},
    {ErrorKind::Unavailable, "Unavailable"},
    {ErrorKind::DeadlineExceeded, "DeadlineExceeded"},
    {ErrorKind::DataLoss, "DataLoss"},
    {ErrorKind::Unimplemented, "Unimplemented"},
    {ErrorKind::Internal, "Internal"},
}};

ErrorKind kind_of_errno(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return ErrorKind::ResourceExhausted;
    case ENOENT:
    case ENOTDIR:
      return ErrorKind::NotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorKind::PermissionDenied;
    case EEXIST:
      return ErrorKind::AlreadyExists;
    case EINVAL:
    case ENAMETOOLONG:
      return ErrorKind::InvalidArgument;
    case ETIMEDOUT:
      return ErrorKind::DeadlineExceeded;
    case ENOMEM:  // of this machine, and it may pass: as caught_error()
    case EMFILE:
    case ENFILE:
    case EINTR:
    case EAGAIN:
    case EBUSY:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
    case ESHUTDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return ErrorKind::Unavailable;
    case EIO:
      return ErrorKind::DataLoss;
    case EOPNOTSUPP:
    case ENOSYS:
      return ErrorKind::Unimplemented;
    default:
      return ErrorKind::Internal;
  }
}

}  // namespace

std::string_view to_string(ErrorKind kind) {
  for (const auto& [candidate, name] : kKindNames) {
    if (candidate == kind) return name;
  }
  return "Internal";
}

ErrorKind error_kind_from_string(std::string_view name) {
  for (const auto& [kind, candidate] : kKindNames) {
    if (candidate == name) return kind;
  }
  return ErrorKind::Internal;
}

bool is_retryable(ErrorKind kind) {
  return kind == ErrorKind::Aborted || kind == ErrorKind::Unavailable ||
         kind == ErrorKind::DeadlineExceeded;
}

Error Error::with_context(std::string_view what) && {
  message_ = fmt::format("{}: {}", what, message_);
  return std::move(*this);
}

Error Error::with_context(std::string_view what) const& { return Error(*this).with_context(what); }

Error Error::with_code(std::string_view code) && {
  code_ = code;
  return std::move(*this);
}

std::string to_string(const Error& error) {
  if (error.code().empty()) return fmt::format("{}: {}", to_string(error.kind()), error.message());
  return fmt::format("{}: {} [{}]", to_string(error.kind()), error.message(), error.code());
}

Error errno_error(int error_number, std::string_view what) {
  std::string_view code;
  if (error_number == ENOSPC || error_number == EDQUOT) code = code::kTargetFull;
  return Error(kind_of_errno(error_number), code,
               fmt::format("{}: {}", what, std::strerror(error_number)));
}

Error caught_error(std::string_view what) {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return make_error(ErrorKind::Unavailable, "{}: no memory", what);
  } catch (const std::system_error& error) {
    return make_error(ErrorKind::Unavailable, "{}: {}", what, error.what());
  } catch (const std::exception& error) {
    return make_error(ErrorKind::Internal, "{}: {}", what, error.what());
  } catch (...) {
    return make_error(ErrorKind::Internal, "{}: an unknown exception", what);
  }
}

}  // namespace vmferry
