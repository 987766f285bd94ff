// Text forms used by HTTP: percent and base64 encoding, URLs, Basic credentials.
#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "common/http_client.h"

namespace vmferry {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
        hex_value(text[i + 2]) >= 0) {
      decoded += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace

std::string url_encode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", byte);
    }
  }
  return encoded;
}

std::string base64_encode(std::span<const std::byte> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::string base64_encode(std::string_view bytes) {
  return base64_encode(std::as_bytes(std::span(bytes)));
}

Result<std::string> base64_decode(std::string_view text) {
  std::string compact;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) compact += c;
  }
  std::size_t padding = 0;
  while (padding < compact.size() && compact[compact.size() - 1 - padding] == '=') ++padding;
  const bool clean =
      std::all_of(compact.begin(), compact.end() - static_cast<long>(padding), [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '/';
      });
  if (compact.size() % 4 != 0 || padding > 2 || !clean) {
    return make_error(ErrorKind::InvalidArgument, "text is not base64");
  }
  std::string decoded(compact.size() / 4 * 3, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(decoded.data()),
                                     reinterpret_cast<const unsigned char*>(compact.data()),
                                     static_cast<int>(compact.size()));
  if (length < 0) return make_error(ErrorKind::InvalidArgument, "text is not base64");
  decoded.resize(static_cast<std::size_t>(length) - padding);
  return decoded;
}

SecretString basic_authorization(std::string_view user, const SecretString& password) {
  return SecretString("Basic " + base64_encode(fmt::format("{}:{}", user, password.reveal())));
}

std::string UrlParts::origin() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  const std::string name = ipv6 ? "[" + host + "]" : host;
  return port == 0 ? fmt::format("{}://{}", scheme, name)
                   : fmt::format("{}://{}:{}", scheme, name, port);
}

Result<UrlParts> parse_url(std::string_view url) {
  const auto bad = [&](std::string_view why) {
    return make_error(ErrorKind::InvalidArgument, "'{}' is not a usable URL: {}", redacted_url(url),
                      why);
  };
  UrlParts parts;
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos || scheme_end == 0) return bad("it has no scheme");
  parts.scheme = std::string(url.substr(0, scheme_end));
  std::ranges::transform(parts.scheme, parts.scheme.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string_view rest = url.substr(scheme_end + 3);
  const std::size_t path = rest.find_first_of("/?#");
  std::string_view authority = rest.substr(0, path);
  parts.path_and_query = path == std::string_view::npos ? "" : std::string(rest.substr(path));
  if (!parts.path_and_query.starts_with('/')) parts.path_and_query.insert(0, "/");
  if (const std::size_t hash = parts.path_and_query.find('#'); hash != std::string::npos) {
    parts.path_and_query.resize(hash);
  }
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    const std::string_view info = authority.substr(0, at);
    const std::size_t colon = info.find(':');
    parts.user = percent_decode(info.substr(0, colon));
    if (colon != std::string_view::npos) {
      parts.password = SecretString(percent_decode(info.substr(colon + 1)));
    }
    authority.remove_prefix(at + 1);
  }
  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return bad("its address has no closing bracket");
    parts.host = std::string(authority.substr(1, close - 1));
    port = authority.substr(close + 1);
    if (!port.empty() && port.front() != ':') return bad("its port is malformed");
    if (!port.empty()) port.remove_prefix(1);
  } else {
    const std::size_t colon = authority.find(':');
    parts.host = std::string(authority.substr(0, colon));
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  if (parts.host.empty()) return bad("it has no host");
  if (!port.empty()) {
    const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), parts.port);
    if (failure != std::errc() || end != port.data() + port.size() || parts.port < 1 ||
        parts.port > 65535) {
      return bad("its port is malformed");
    }
  }
  return parts;
}

}  // namespace vmferry
