#include "coordinator/provider/vmware/client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/inventory.h"
#include "coordinator/provider/vmware/power.h"
#include "tests/coordinator/provider/vmware/recorded.h"

namespace vmferry::vmware {
namespace {

ProviderCredentials credentials(std::string url) {
  ProviderCredentials c;
  c.api_url = std::move(url);
  c.username = "user";
  c.password = SecretString("secret-word");
  return c;
}

TEST(ClientOptionsTest, ReadsTheUrlAndItsUserInfo) {
  const auto options = client_options(credentials("https://vc.example/sdk"));
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->origin, "https://vc.example");
  EXPECT_EQ(options->sdk_path, "/sdk");
  EXPECT_EQ(options->host, "vc.example");
  EXPECT_EQ(options->username, "user");

  EXPECT_EQ(client_options(credentials("https://vc.example:8443"))->sdk_path, "/sdk");
  const auto user = client_options(credentials("https://me%40corp:p%3Aw@vc.example/sdk/"));
  ASSERT_TRUE(user.ok());
  EXPECT_EQ(user->username, "me@corp");
  EXPECT_EQ(user->password.reveal(), "p:w");
  EXPECT_EQ(user->sdk_path, "/sdk");
}

TEST(ClientOptionsTest, VW50RefusesWhatIsNoHttpsUrlWithoutShowingSecrets) {
  for (const char* url : {"invalidUrl", "http://vc.example/sdk", "", "https://", "ftp://x/sdk",
                          "http://u:hidden-word@vc.example/sdk"}) {
    SCOPED_TRACE(url);
    const auto made = make_vmware_provider(credentials(url), Logger());
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_EQ(made.error().code(), code::kSecretInvalid);
    EXPECT_NE(made.error().message().find("apiUrl"), std::string::npos);
    EXPECT_EQ(made.error().message().find("hidden-word"), std::string::npos);
  }
}

TEST(ClientOptionsTest, RefusesABadThumbprint) {
  ProviderCredentials c = credentials("https://vc.example/sdk");
  c.thumbprint = "AA:BB";
  const auto made = client_options(c);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), code::kSecretInvalid);
  EXPECT_NE(made.error().message().find("thumbprint"), std::string::npos);
}

// A port that nobody listens on: bound here, then given back.
int closed_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

TEST(ClientTest, VW51AServerThatIsDownIsUnreachable) {
  const std::string url = "https://127.0.0.1:" + std::to_string(closed_port()) + "/sdk";
  const auto made = make_vmware_provider(credentials(url), Logger());
  ASSERT_TRUE(made.ok());
  const auto result = (*made)->check_connection({});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind(), ErrorKind::Unavailable);
  EXPECT_EQ(result.error().code(), code::kSourceUnreachable);
  EXPECT_NE(result.error().message().find("https://127.0.0.1"), std::string::npos);
}

TEST(InventoryTest, BuildsPathsWithoutTheRootFolder) {
  const std::vector<Ancestor> line = {
      {{"VirtualMachine", "vm-1"}, "web%2f1"}, {{"Folder", "group-v3"}, "prod"},
      {{"Folder", "group-v2"}, "vm"},          {{"Datacenter", "dc-2"}, "DC 1"},
      {{"Folder", "group-d5"}, "Site"},        {{"Folder", "group-d1"}, "Datacenters"}};
  EXPECT_EQ(inventory_path(line), "Site/DC 1/vm/prod/web%2f1");
  EXPECT_EQ(datacenter_path(line), "Site/DC 1");
  EXPECT_EQ(inventory_path({}), "");
  EXPECT_EQ(datacenter_path({line.begin(), line.begin() + 1}), "");
}

ObjectProperties task(const std::string& properties) {
  const auto reply = SoapReply::parse(
      "<e:Envelope xmlns:xsi='x'><e:Body><R><returnval><objects><obj type='Task'>task-1</obj>" +
      properties + "</objects></returnval></R></e:Body></e:Envelope>");
  EXPECT_TRUE(reply.ok());
  return objects_of(*reply).at(0);
}

TEST(PowerTest, Vsrc15ATasksFailureCarriesItsLocalizedMessage) {
  const auto failure = task_failure(
      task("<propSet><name>info.state</name><val>error</val></propSet><propSet><name>info.error"
           "</name><val xsi:type='LocalizedMethodFault'><fault xsi:type='FileLocked'><file>x"
           "</file></fault><localizedMessage>Unable to access file x since it is locked"
           "</localizedMessage></val></propSet>"));
  ASSERT_TRUE(failure.has_value());
  const Error error = fault_error(*failure, "PowerOnVM_Task", "VM 'vm-1'");
  EXPECT_EQ(error.message(),
            "PowerOnVM_Task on VM 'vm-1': FileLocked: Unable to access file x since it is locked");
  EXPECT_EQ(error.code(), code::kDiskLocked);
  EXPECT_EQ(error.kind(), ErrorKind::Unavailable);

  for (const char* state : {"queued", "running", "success"}) {
    EXPECT_FALSE(task_failure(task("<propSet><name>info.state</name><val>" + std::string(state) +
                                   "</val></propSet>"))
                     .has_value());
  }
}

}  // namespace
}  // namespace vmferry::vmware
