#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "common/catalogue.h"
#include "common/http_client.h"
#include "coordinator/kube/rest/access.h"
#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::kube {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class KubeconfigTest : public ::testing::Test {
 protected:
  KubeconfigTest() {
    const std::string made =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        "-subj /CN=x -keyout " +
        dir_.path("key.pem") + " -out " + dir_.path("ca.pem") + " 2>/dev/null";
    has_openssl_ = ::system(made.c_str()) == 0;
  }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(dir_.path(name)) << text;
    return dir_.path(name);
  }
  std::string simple(const std::string& user, const std::string& cluster = "") {
    return write("config",
                 "current-context: c\n"
                 "clusters: [{name: k, cluster: {server: 'https://host:6443/'" +
                     cluster + "}}]\nusers: [{name: u, user: {" + user +
                     "}}]\n"
                     "contexts: [{name: c, context: {cluster: k, user: u, namespace: ns}}]\n");
  }
  Result<Access> load(const std::string& files, const std::string& context = "") {
    return kubeconfig_access({.files = files, .context = context}, clock_, Logger());
  }
  Result<Credential> credential(const std::string& user) {
    Result<Access> access = load(simple(user));
    if (!access) return std::move(access).error();
    return access->credentials->current({});
  }

  embedded::TempDir dir_;
  FakeClock clock_;
  bool has_openssl_ = false;
};

TEST_F(KubeconfigTest, ReadsServerUserAndNamespace) {
  const auto access = load(simple("token: abc"));
  ASSERT_TRUE(access.ok()) << to_string(access.error());
  EXPECT_EQ(access->server, "https://host:6443");
  EXPECT_EQ(access->ns, "ns");
  EXPECT_EQ(access->credentials->current({})->authorization.reveal(), "Bearer abc");
  EXPECT_FALSE(access->credentials->refused(1));
}

TEST_F(KubeconfigTest, ReadsUsersOfEveryKind) {
  EXPECT_EQ(credential("username: me, password: pw")->authorization,
            basic_authorization("me", SecretString("pw")));
  const auto both = credential("client-certificate-data: QUJD, client-key-data: REVG, token: t");
  ASSERT_TRUE(both.ok()) << to_string(both.error());
  EXPECT_EQ(both->certificate_pem, "ABC");
  EXPECT_EQ(both->key_pem.reveal(), "DEF");
  EXPECT_EQ(both->authorization.reveal(), "Bearer t");
  write("cert", "CERT");
  write("key", "KEY");
  const auto files = credential("client-certificate: cert, client-key: " + dir_.path("key"));
  ASSERT_TRUE(files.ok()) << to_string(files.error());
  EXPECT_EQ(files->certificate_pem, "CERT");
  EXPECT_EQ(files->key_pem.reveal(), "KEY");
}

TEST_F(KubeconfigTest, ATokenFileIsReadAgain) {
  write("token", "one\n");
  const auto access = load(simple("tokenFile: token, token: ignored"));
  ASSERT_TRUE(access.ok()) << to_string(access.error());
  const auto first = access->credentials->current({});
  ASSERT_TRUE(first.ok()) << to_string(first.error());
  EXPECT_EQ(first->authorization.reveal(), "Bearer one");
  write("token", "two");
  EXPECT_EQ(access->credentials->current({})->authorization.reveal(), "Bearer one");
  clock_.advance(std::chrono::seconds(61));
  const auto second = access->credentials->current({});
  EXPECT_EQ(second->authorization.reveal(), "Bearer two");
  EXPECT_NE(second->generation, first->generation);
  write("token", "three");
  EXPECT_TRUE(access->credentials->refused(second->generation));
  EXPECT_EQ(access->credentials->current({})->authorization.reveal(), "Bearer three");
  // Gone for a moment: what is known still counts.
  ASSERT_EQ(::unlink(dir_.path("token").c_str()), 0);
  clock_.advance(std::chrono::seconds(61));
  EXPECT_EQ(access->credentials->current({})->authorization.reveal(), "Bearer three");
}

TEST_F(KubeconfigTest, TrustsTheAuthorityInlineOrByFile) {
  if (!has_openssl_) GTEST_SKIP() << "needs openssl";
  const auto by_file = load(simple("token: t", ", certificate-authority: ca.pem"));
  ASSERT_TRUE(by_file.ok()) << to_string(by_file.error());
  EXPECT_THAT(by_file->trust.ca_pem, HasSubstr("BEGIN CERTIFICATE"));
  const std::string inline_text = base64_encode(by_file->trust.ca_pem);
  const auto inline_ca = load(simple("token: t", ", certificate-authority-data: " + inline_text +
                                                     ", tls-server-name: kubernetes"));
  ASSERT_TRUE(inline_ca.ok()) << to_string(inline_ca.error());
  EXPECT_EQ(inline_ca->trust, by_file->trust);
  EXPECT_EQ(inline_ca->tls_server_name, "kubernetes");
}

TEST_F(KubeconfigTest, MergesAListOfFiles) {
  const std::string one =
      write("one", "current-context: b\nusers: [{name: u, user: {token: one}}]\n");
  const std::string two = write("two",
                                "current-context: a\nusers: [{name: u, user: {token: two}}]\n"
                                "clusters: [{name: k, cluster: {server: 'https://k'}}]\n"
                                "contexts: [{name: b, context: {cluster: k, user: u}},"
                                " {name: a, context: {cluster: k}}]\n");
  const auto access = load(one + ":" + dir_.path("missing") + ":" + two);
  ASSERT_TRUE(access.ok()) << to_string(access.error());
  EXPECT_EQ(access->credentials->current({})->authorization.reveal(), "Bearer one");
  EXPECT_EQ(access->ns, "default");
  const auto other = load(one + ":" + two, "a");
  ASSERT_TRUE(other.ok());
  EXPECT_TRUE(other->credentials->current({})->authorization.empty());
}

TEST_F(KubeconfigTest, SaysWhatIsWrongWithoutShowingSecrets) {
  const struct {
    const char* user;
    const char* cluster;
    const char* text;
  } cases[] = {
      {"token: \"hunter2\\nX: y\"", "", "not printable"},
      {"client-certificate-data: QUJD", "", "belong together"},
      {"client-certificate-data: 'hunter2!', client-key-data: QUJD", "", "not base64"},
      {"client-certificate: nowhere.pem, client-key: k", "", "nowhere.pem"},
      {"auth-provider: {name: gcp}", "", "exec plugin"},
      {"exec: {apiVersion: v1, command: x}", "", "exec.apiVersion"},
      {"exec: {apiVersion: client.authentication.k8s.io/v1}", "", "exec.command"},
      {"exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}",
       "", "interactiveMode"},
      {"token: hunter2", ", insecure-skip-tls-verify: true", "not supported"},
      {"token: hunter2", ", proxy-url: 'http://p'", "not supported"},
      {"token: hunter2", ", certificate-authority-data: QUJD", "certificate-authority"},
      {"token: hunter2 : [", "", "is not valid YAML"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto access = load(simple(c.user, c.cluster));
    ASSERT_FALSE(access.ok());
    EXPECT_EQ(access.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_EQ(access.error().code(), code::kClusterCredentials);
    EXPECT_THAT(access.error().message(), HasSubstr(c.text));
    EXPECT_THAT(access.error().message(), Not(HasSubstr("hunter2")));
  }
  EXPECT_THAT(load(simple("token: t"), "other").error().message(), HasSubstr("no context 'other'"));
  EXPECT_EQ(load(dir_.path("none")).error().kind(), ErrorKind::NotFound);
}

TEST_F(KubeconfigTest, APodUsesItsServiceAccount) {
  if (!has_openssl_) GTEST_SKIP() << "needs openssl";
  ASSERT_EQ(::rename(dir_.path("ca.pem").c_str(), dir_.path("ca.crt").c_str()), 0);
  write("namespace", "vmferry\n");
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  EXPECT_EQ(in_cluster_access(clock_, dir_.root()).error().kind(), ErrorKind::NotFound);
  ::setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", "443", 1);
  EXPECT_FALSE(in_cluster_access(clock_, dir_.root()).ok());  // no token
  write("token", "abc");
  const auto access = in_cluster_access(clock_, dir_.root());
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ASSERT_TRUE(access.ok()) << to_string(access.error());
  EXPECT_EQ(access->server, "https://[fd00::1]:443");
  EXPECT_EQ(access->ns, "vmferry");
}

}  // namespace
}  // namespace vmferry::kube
