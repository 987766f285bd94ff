#include "coordinator/api/credentials.h"

#include <gtest/gtest.h>

#include <string_view>

#include "common/catalogue.h"
#include "common/fd.h"
#include "common/http_client.h"

namespace vmferry::api {
namespace {

using nlohmann::json;

kube::Object secret(ProviderKind kind, const std::string& yaml) {
  const char* key = kind == ProviderKind::Ovirt ? "ovirt" : "vmware";
  return kube::Object(json{{"metadata", {{"name", "creds"}, {"namespace", "n"}}},
                           {"data", {{key, base64_encode(yaml)}}}});
}

// A self-signed certificate for tests; its key is not kept.
constexpr std::string_view kCertificate =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfDCCASGgAwIBAgIUU2x2YPayYKYBT+JJYYL5IxorNyQwCgYIKoZIzj0EAwIw\n"
    "EjEQMA4GA1UEAwwHdGVzdCBjYTAgFw0yNjExMjIxNzE4MjJaGA8yMTI2MTAyOTE3\n"
    "MTgyMlowEjEQMA4GA1UEAwwHdGVzdCBjYTBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
    "A0IABBnLXowUYtX1SC6cbfQwcmxFsBk+r5kfjBe8fo0XrY452q6cvTEekw8Zh7yb\n"
    "270YnzH37w/dLpmOLGaplgcEhcOjUzBRMB0GA1UdDgQWBBSS0wbSa4OonGokqo11\n"
    "tHNlxtEkGTAfBgNVHSMEGDAWgBSS0wbSa4OonGokqo11tHNlxtEkGTAPBgNVHRMB\n"
    "Af8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQDmbDQ1lA5qylb7VuVIRg7Ka/Oi\n"
    "+jYGgF9CitWjKqn1hAIhAKocbBorq2yfql2J/4+0B7V42nwVcuaxljOGuh0BTuud\n"
    "-----END CERTIFICATE-----\n";

std::string indented(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t end = text.find('\n') + 1;
    result += "  " + std::string(text.substr(0, end));
    text.remove_prefix(end);
  }
  return result;
}

const std::string kGood = "apiUrl: https://host/sdk\nusername: user@domain\npassword: hush-hush\n";

void expect_refused(ProviderKind kind, const std::string& yaml, const std::string& part) {
  const Result<ProviderCredentials> credentials = parse_credentials(kind, secret(kind, yaml));
  ASSERT_FALSE(credentials);
  EXPECT_EQ(credentials.error().kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(credentials.error().code(), code::kSecretInvalid);
  EXPECT_NE(credentials.error().message().find(part), std::string::npos)
      << credentials.error().message();
  EXPECT_EQ(credentials.error().message().find("hush"), std::string::npos)
      << credentials.error().message();
}

TEST(CredentialsTest, Api30ReadsAllFourVmwareKeys) {
  const auto credentials = parse_credentials(
      ProviderKind::Vmware,
      secret(ProviderKind::Vmware,
             kGood + "thumbprint: 31:14:eb:9e:f1:78:68:10:a5:78:d1:a7:df:bb:54:b7:1b:91:9f:30\n"));
  ASSERT_TRUE(credentials) << to_string(credentials.error());
  EXPECT_EQ(credentials->api_url, "https://host/sdk");
  EXPECT_EQ(credentials->username, "user@domain");
  EXPECT_EQ(credentials->password.reveal(), "hush-hush");
  EXPECT_EQ(credentials->thumbprint, "31:14:EB:9E:F1:78:68:10:A5:78:D1:A7:DF:BB:54:B7:1B:91:9F:30");
}

TEST(CredentialsTest, Api31TheThumbprintMayBeMissingOrEmpty) {
  for (const std::string& extra :
       {std::string(), std::string("thumbprint: ''\n"), std::string("thumbprint:\n")}) {
    const auto credentials =
        parse_credentials(ProviderKind::Vmware, secret(ProviderKind::Vmware, kGood + extra));
    ASSERT_TRUE(credentials) << to_string(credentials.error());
    EXPECT_EQ(credentials->thumbprint, "");
  }
}

TEST(CredentialsTest, Api32AndApi33NameTheMissingOrEmptyKey) {
  for (const ProviderKind kind : {ProviderKind::Vmware, ProviderKind::Ovirt}) {
    for (const std::string key : {"apiUrl", "username", "password"}) {
      SCOPED_TRACE(key);
      std::string rest;
      for (const std::string other : {"apiUrl", "username", "password"}) {
        if (other != key) rest += other + ": https://hush\n";
      }
      expect_refused(kind, rest, "key '" + key + "' is missing");
      expect_refused(kind, rest + key + ": ''\n", "key '" + key + "' is empty");
      expect_refused(kind, rest + key + ":\n", "key '" + key + "' is empty");
      expect_refused(kind, rest, kind == ProviderKind::Ovirt ? "ovirt" : "vmware");
    }
  }
}

TEST(CredentialsTest, Api34RefusesWhatIsNoMap) {
  expect_refused(ProviderKind::Ovirt, "garbage-hush", "not a map");
  expect_refused(ProviderKind::Ovirt, "- a\n- hush\n", "not a map");
  expect_refused(ProviderKind::Ovirt, "a: b: hush\n", "not valid YAML at line");
  expect_refused(ProviderKind::Ovirt, "apiUrl: [hush]\n", "'apiUrl' must be plain text");
  expect_refused(ProviderKind::Ovirt, "apiUrl: hush\napiUrl: hush\n", "'apiUrl' is there twice");
}

TEST(CredentialsTest, Api35RefusesAnEmptyCa) {
  for (const std::string key : {"caCert", "ca.cert", "cacert"}) {
    expect_refused(ProviderKind::Ovirt, kGood + key + ": ''\n", "key '" + key + "' is empty");
  }
}

TEST(CredentialsTest, Api36RefusesACaThatIsNoCertificate) {
  expect_refused(ProviderKind::Ovirt, kGood + "caCert: garbage\n", "caCert");
}

TEST(CredentialsTest, Api39TakesScalarsAsTheirLiteralText) {
  const struct {
    const char* yaml;
    const char* password;
  } cases[] = {{"0123", "0123"},
               {"123456", "123456"},
               {"yes", "yes"},
               {"1.50", "1.50"},
               {"'0123'", "0123"},
               {"\"a\\tb\"", "a\tb"},
               {"0x1F", "0x1F"},
               {"1e3", "1e3"},
               {"2026-01-01", "2026-01-01"},
               {"'~'", "~"},
               {"p@ss:w#rd", "p@ss:w#rd"}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.yaml);
    const auto credentials = parse_credentials(
        ProviderKind::Vmware,
        secret(ProviderKind::Vmware,
               "apiUrl: https://h/sdk\nusername: u\npassword: " + std::string(c.yaml) + "\n"));
    ASSERT_TRUE(credentials) << to_string(credentials.error());
    EXPECT_EQ(credentials->password.reveal(), c.password);
  }
}

TEST(CredentialsTest, Api40ReadsTheCaUnderEveryAliasAsPemAndBase64) {
  for (const std::string key : {"caCert", "ca.cert", "cacert"}) {
    for (const std::string& value :
         {" |\n" + indented(kCertificate), " " + base64_encode(kCertificate) + "\n"}) {
      const auto credentials = parse_credentials(
          ProviderKind::Ovirt, secret(ProviderKind::Ovirt, kGood + key + ":" + value));
      ASSERT_TRUE(credentials) << key << ": " << to_string(credentials.error());
      EXPECT_EQ(credentials->ca_pem.find("-----BEGIN CERTIFICATE-----"), 0U);
    }
  }
  const auto without = parse_credentials(ProviderKind::Ovirt, secret(ProviderKind::Ovirt, kGood));
  ASSERT_TRUE(without);
  EXPECT_EQ(without->ca_pem, "");
}

TEST(CredentialsTest, Api41ASecretWithoutTheDataKeyLacksTheUrl) {
  for (const char* text : {R"({})", R"({"data": {"ovirt": "YTogYg=="}})", R"({"data": null})"}) {
    const auto credentials =
        parse_credentials(ProviderKind::Vmware, kube::Object(json::parse(text)));
    ASSERT_FALSE(credentials);
    EXPECT_NE(credentials.error().message().find("'apiUrl' is missing"), std::string::npos);
  }
}

TEST(CredentialsTest, ReadsStringDataAndRefusesBrokenBase64) {
  const auto plain = parse_credentials(ProviderKind::Vmware,
                                       kube::Object(json{{"stringData", {{"vmware", kGood}}}}));
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->username, "user@domain");
  const auto broken = parse_credentials(ProviderKind::Vmware,
                                        kube::Object(json{{"data", {{"vmware", "%%%hush"}}}}));
  ASSERT_FALSE(broken);
  EXPECT_NE(broken.error().message().find("not base64"), std::string::npos);
  EXPECT_EQ(broken.error().message().find("hush"), std::string::npos);
}

TEST(CredentialsTest, UserInfoInTheUrlWins) {
  const auto credentials = parse_credentials(
      ProviderKind::Vmware,
      secret(ProviderKind::Vmware,
             "apiUrl: https://root%40local:p%3Aq@host:8989/sdk\nusername: u\npassword: p\n"));
  ASSERT_TRUE(credentials) << to_string(credentials.error());
  EXPECT_EQ(credentials->api_url, "https://host:8989/sdk");
  EXPECT_EQ(credentials->username, "root@local");
  EXPECT_EQ(credentials->password.reveal(), "p:q");
  expect_refused(ProviderKind::Vmware, "apiUrl: https://a:hush@h:x/sdk\nusername: u\npassword: p\n",
                 "not a URL");
  expect_refused(ProviderKind::Vmware, "apiUrl: ftp://hush/\nusername: u\npassword: p\n",
                 "https://");
}

TEST(CredentialsTest, RefusesABadThumbprint) {
  expect_refused(ProviderKind::Vmware, kGood + "thumbprint: 12:34\n", "thumbprint");
}

}  // namespace
}  // namespace vmferry::api
