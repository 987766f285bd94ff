#pragma once

#include <optional>
#include <utility>
#include <variant>

#include "common/check.h"
#include "common/error.h"

namespace vmferry {

// A value or an Error: the subset of std::expected that we use (GCC 12 has it in C++23 only).
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {
  }  // NOLINT(google-explicit-constructor): returning a value is the point
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {
  }  // NOLINT(google-explicit-constructor): returning an error is the point

  explicit operator bool() const { return state_.index() == 0; }
  bool ok() const { return state_.index() == 0; }

  T& operator*() & { return checked(); }
  const T& operator*() const& { return const_cast<Result*>(this)->checked(); }
  T&& operator*() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &const_cast<Result*>(this)->checked(); }

  const Error& error() const& {
    VMFERRY_CHECK(state_.index() == 1);
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    VMFERRY_CHECK(state_.index() == 1);
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  T& checked() {
    VMFERRY_CHECK(state_.index() == 0);
    return *std::get_if<0>(&state_);
  }
  std::variant<T, Error> state_;
};

// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error)
      : error_(std::move(error)) {
  }  // NOLINT(google-explicit-constructor): returning an error is the point

  explicit operator bool() const { return !error_.has_value(); }
  bool ok() const { return !error_.has_value(); }
  void operator*() const { VMFERRY_CHECK(ok()); }

  const Error& error() const& {
    VMFERRY_CHECK(error_.has_value());
    return *error_;
  }
  Error&& error() && {
    VMFERRY_CHECK(error_.has_value());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace vmferry

// The value of a Result, or return its error to our caller.
#define TRY(expression)                     \
  __extension__({                           \
    auto try_result = (expression);         \
    if (!try_result) [[unlikely]]           \
      return std::move(try_result).error(); \
    *std::move(try_result);                 \
  })
