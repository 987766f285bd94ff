#include "coordinator/imports/ledger_seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include <nlohmann/json.hpp>

#include "common/check.h"
#include "common/log.h"

namespace vmferry::imports {
namespace {

using nlohmann::json;

constexpr const char* kSeal = "seal";

// Of the ledger as it is dumped, whose names are in order.
std::string code_of(const json& ledger, std::string_view uid, const SecretString& key) {
  const std::string text = fmt::format("vmferry ledger 1\n{}\n{}", uid, ledger.dump());
  std::array<unsigned char, EVP_MAX_MD_SIZE> code{};
  unsigned int size = 0;
  const std::string& secret = key.reveal();
  const unsigned char* const made =
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), code.data(), &size);
  VMFERRY_CHECK(made != nullptr);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", code[i]);
  return hex;
}

}  // namespace

std::string sealed(std::string_view ledger, std::string_view uid, const SecretString& key) {
  if (key.empty()) return std::string(ledger);
  json value = json::parse(ledger);  // ours
  value[kSeal] = code_of(value, uid, key);
  return value.dump();
}

bool is_sealed(std::string_view ledger, std::string_view uid, const SecretString& key) {
  if (key.empty()) return false;
  json value = json::parse(ledger, nullptr, false);
  if (!value.is_object()) return false;
  const auto seal = value.find(kSeal);
  if (seal == value.end() || !seal->is_string()) return false;
  const std::string told = seal->get<std::string>();
  value.erase(seal);
  const std::string code = code_of(value, uid, key);
  return told.size() == code.size() && CRYPTO_memcmp(told.data(), code.data(), code.size()) == 0;
}

}  // namespace vmferry::imports
