#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/secret.h"

namespace vmferry::imports {

// A ledger stands in an annotation, which whoever may edit the import may write. Where one import
// looks at another's, it believes what carries the coordinators' seal: a code over the text and the
// import's uid, made with their key. Not looked at where an import reads its own.
//
// The ledger's text with its seal. Without a key it is left as it is.
std::string sealed(std::string_view ledger, std::string_view uid, const SecretString& key);
// Whether a coordinator with that key wrote this text for that import.
bool is_sealed(std::string_view ledger, std::string_view uid, const SecretString& key);

}  // namespace vmferry::imports
