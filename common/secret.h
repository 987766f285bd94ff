#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace vmferry {

// A password, ticket or key. Prints as "***", is wiped when destroyed, and gives its text only to
// whoever asks by name. Copies are allowed; each wipes itself.
class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string text) : text_(std::move(text)) {}
  SecretString(const SecretString&) = default;
  SecretString(SecretString&& other) noexcept;
  SecretString& operator=(const SecretString& other);
  SecretString& operator=(SecretString&& other) noexcept;
  ~SecretString();

  const std::string& reveal() const { return text_; }
  bool empty() const { return text_.empty(); }
  friend bool operator==(const SecretString&, const SecretString&) = default;

 private:
  void wipe();
  std::string text_;
};

// `url` without user, password, query and fragment: the form that may be logged.
std::string redacted_url(std::string_view url);

}  // namespace vmferry

template <>
struct fmt::formatter<vmferry::SecretString> : fmt::formatter<std::string_view> {
  auto format(const vmferry::SecretString&, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format("***", context);
  }
};
