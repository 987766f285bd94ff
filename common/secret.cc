#include "common/secret.h"

#include <openssl/crypto.h>

#include <utility>

namespace vmferry {

SecretString::SecretString(SecretString&& other) noexcept : text_(other.text_) { other.wipe(); }

SecretString& SecretString::operator=(const SecretString& other) {
  if (this != &other) {
    wipe();
    text_ = other.text_;
  }
  return *this;
}

SecretString& SecretString::operator=(SecretString&& other) noexcept {
  if (this != &other) {
    wipe();
    text_ = other.text_;
    other.wipe();
  }
  return *this;
}

SecretString::~SecretString() { wipe(); }

void SecretString::wipe() {
  OPENSSL_cleanse(text_.data(), text_.size());
  text_.clear();
}

std::string redacted_url(std::string_view url) {
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return "(not a URL)";
  std::string_view rest = url.substr(scheme_end + 3);
  rest = rest.substr(0, rest.find_first_of("?#"));
  const std::size_t path = rest.find('/');
  std::string_view authority = rest.substr(0, path);
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    authority.remove_prefix(at + 1);
  }
  std::string text(url.substr(0, scheme_end + 3));
  text += authority;
  if (path != std::string_view::npos) {
    const std::string_view tail = rest.substr(path);
    // An imageio path holds its ticket: "/images/<ticket>[/extents]".
    if (tail.starts_with("/images/")) {
      const std::size_t after = tail.find('/', 8);
      text += "/images/***";
      if (after != std::string_view::npos) text += tail.substr(after);
    } else {
      text += tail;
    }
  }
  return text;
}

}  // namespace vmferry
