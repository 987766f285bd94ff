#include "common/tls_trust.h"

#include <openssl/bio.h>
#include <openssl/pem.h>

#include <cctype>

#include <openssl/x509.h>

#include "common/handle.h"
#include "common/http_client.h"

namespace vmferry {
namespace {

using Bio = Owned<BIO, BIO_free_all>;
using Certificate = Owned<X509, X509_free>;

constexpr std::size_t kMaxCaBytes = 4u << 20;

int count_certificates(std::string_view pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  int count = 0;
  while (Certificate certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) ++count;
  return count;
}

Result<std::string> pem_of_der(std::string_view der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  const Certificate certificate(d2i_X509(nullptr, &bytes, static_cast<long>(der.size())));
  if (!certificate) {
    return make_error(ErrorKind::InvalidArgument, "the CA is neither PEM nor base64 of PEM or DER");
  }
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(length));
}

}  // namespace

Result<std::string> parse_thumbprint(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c == ':' || std::isspace(static_cast<unsigned char>(c)) != 0) continue;
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) {
      return make_error(ErrorKind::InvalidArgument, "thumbprint holds '{}', which is no hex digit",
                        c);
    }
    digits += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  if (digits.size() != 40 && digits.size() != 64) {
    return make_error(ErrorKind::InvalidArgument,
                      "thumbprint has {} hex digits; SHA-1 has 40, SHA-256 has 64", digits.size());
  }
  std::string result;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    if (i != 0) result += ':';
    result += digits.substr(i, 2);
  }
  return result;
}

Result<std::string> parse_ca_certificates(std::string_view text) {
  if (text.size() > kMaxCaBytes) {
    return make_error(ErrorKind::InvalidArgument, "the CA is larger than 4 MiB");
  }
  std::string pem(text);
  if (text.find("-----BEGIN") == std::string_view::npos) {
    auto decoded = base64_decode(text);
    if (!decoded || decoded->empty()) {
      return make_error(ErrorKind::InvalidArgument,
                        "the CA is neither PEM nor base64 of PEM or DER");
    }
    pem = *std::move(decoded);
    if (pem.find("-----BEGIN") == std::string::npos) pem = TRY(pem_of_der(pem));
  }
  if (count_certificates(pem) == 0) {
    return make_error(ErrorKind::InvalidArgument, "the CA text holds no readable certificate");
  }
  return pem;
}

}  // namespace vmferry
