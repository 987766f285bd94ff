#include "coordinator/provider/vmware/soap.h"

#include <gtest/gtest.h>

#include "common/catalogue.h"
#include "coordinator/provider/vmware/client.h"
#include "tests/coordinator/provider/vmware/recorded.h"

namespace vmferry::vmware {
namespace {

std::string envelope(const std::string& body) {
  return "<?xml version=\"1.0\"?><e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" "
         "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><e:Body>" +
         body + "</e:Body></e:Envelope>";
}

std::string body_of(const Node& request) {
  const std::string whole = write_envelope(request);
  const auto from = whole.find("<soapenv:Body>") + 14;
  return whole.substr(from, whole.find("</soapenv:Body>") - from);
}

TEST(SoapTest, WritesChildrenInSchemaOrderWhateverTheOrderTheyWereAddedIn) {
  Node login = structure("Login", "Login");
  login.add(leaf("password", "p&<\"\x01>"))
      .add(leaf("userName", "root"))
      .add(reference("_this", {"SessionManager", "ha-sessionmgr"}));
  EXPECT_EQ(body_of(login),
            "<Login xmlns=\"urn:vim25\"><_this type=\"SessionManager\">ha-sessionmgr</_this>"
            "<userName>root</userName><password>p&amp;&lt;&quot;&gt;</password></Login>");
}

TEST(SoapTest, WritesConcreteTypesOfAbstractParametersAndKeepsRepeatedOnesInOrder) {
  Node set = structure("objectSet", "ObjectSpec");
  Node walk = concrete("selectSet", "TraversalSpec");
  walk.add(flag("skip", false)).add(leaf("path", "view")).add(leaf("type", "ContainerView"));
  set.add(walk).add(flag("skip", true)).add(reference("obj", {"ContainerView", "session[5]v"}));
  Node spec = structure("specSet", "PropertyFilterSpec");
  Node wish = structure("propSet", "PropertySpec");
  wish.add(leaf("pathSet", "name")).add(leaf("pathSet", "parent")).add(leaf("type", "Folder"));
  spec.add(set).add(wish);
  Node request = method_call("RetrievePropertiesEx", {"PropertyCollector", "pc"});
  request.add(structure("options", "RetrieveOptions")).add(spec);
  EXPECT_EQ(body_of(request),
            "<RetrievePropertiesEx xmlns=\"urn:vim25\"><_this type=\"PropertyCollector\">pc</_this>"
            "<specSet><propSet><type>Folder</type><pathSet>name</pathSet><pathSet>parent</pathSet>"
            "</propSet><objectSet><obj type=\"ContainerView\">session[5]v</obj><skip>true</skip>"
            "<selectSet xsi:type=\"TraversalSpec\"><type>ContainerView</type><path>view</path>"
            "<skip>false</skip></selectSet></objectSet></specSet><options></options>"
            "</RetrievePropertiesEx>");
}

TEST(SoapDeathTest, AChildThatTheSchemaTableDoesNotKnowIsAMistakeOfOurs) {
  Node login = structure("Login", "Login");
  login.add(leaf("passwort", "x"));
  EXPECT_DEATH(static_cast<void>(write_envelope(login)), "");
}

TEST(SoapTest, Vsrc1And2ReadsTypesUnderEveryPrefixAndMorefsBesideThem) {
  const char* bodies[] = {
      R"(<R><returnval type="VirtualMachine" xsi:type="ManagedObjectReference">vm-42</returnval></R>)",
      R"(<R><returnval xsi:type="vim25:ManagedObjectReference" type="VirtualMachine">vm-42</returnval></R>)",
      R"(<R><returnval xmlns:_X="http://www.w3.org/2001/XMLSchema-instance" _X:type="ManagedObjectReference" type="VirtualMachine">vm-42</returnval></R>)"};
  for (const char* body : bodies) {
    SCOPED_TRACE(body);
    const Result<SoapReply> reply = SoapReply::parse(envelope(body));
    ASSERT_TRUE(reply.ok());
    EXPECT_EQ(xsi_type(reply->returnval()), "ManagedObjectReference");
    EXPECT_EQ(moref_of(reply->returnval()), (MoRef{"VirtualMachine", "vm-42"}));
  }
  const Result<SoapReply> plain = SoapReply::parse(envelope("<R><returnval type='a'/></R>"));
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(xsi_type(plain->returnval()), "");
}

TEST(SoapTest, Vsrc3AnEmptyFindByUuidAnswerIsNothing) {
  const Result<SoapReply> reply =
      SoapReply::parse(envelope("<FindByUuidResponse xmlns='urn:vim25'/>"));
  ASSERT_TRUE(reply.ok());
  EXPECT_FALSE(reply->fault().has_value());
  EXPECT_TRUE(moref_of(reply->returnval()).empty());
  EXPECT_TRUE(reply->returnvals().empty());
}

TEST(SoapTest, ReadsFaultsBySpecifiedTypeOrElementName) {
  const struct {
    std::string name, body, type, message, state;
  } cases[] = {
      {"by type",
       "<e:Fault><faultcode>ServerFaultCode</faultcode><faultstring>text</faultstring><detail>"
       "<InvalidPowerStateFault xsi:type='InvalidPowerState'><requestedState>poweredOn"
       "</requestedState><existingState>poweredOff</existingState></InvalidPowerStateFault>"
       "</detail></e:Fault>",
       "InvalidPowerState", "text", "poweredOff"},
      {"by element name",
       "<e:Fault><faultstring>x</faultstring><detail><NoPermissionFault/></detail></e:Fault>",
       "NoPermission", "x", ""},
      {"without detail", "<Fault><faultstring>x</faultstring></Fault>", "unnamed fault", "x", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Result<SoapReply> reply = SoapReply::parse(envelope(c.body));
    ASSERT_TRUE(reply.ok());
    ASSERT_TRUE(reply->fault().has_value());
    EXPECT_EQ(reply->fault()->type, c.type);
    EXPECT_EQ(reply->fault()->message, c.message);
    EXPECT_EQ(reply->fault()->existing_state, c.state);
  }
}

TEST(SoapTest, Vsrc13AFaultWithoutTextIsNamedByItsType) {
  const Result<SoapReply> reply =
      SoapReply::parse(envelope("<e:Fault><faultstring></faultstring><detail><FileLockedFault "
                                "xsi:type='FileLocked'/></detail></e:Fault>"));
  ASSERT_TRUE(reply.ok());
  const Error error = fault_error(*reply->fault(), "PowerOnVM_Task", "vm-42");
  EXPECT_EQ(error.message(), "PowerOnVM_Task on vm-42: FileLocked");
}

TEST(SoapTest, MapsFaultClassesToErrorKinds) {
  const struct {
    std::string_view fault;
    FaultClass fault_class;
    ErrorKind kind;
    std::string_view code;
  } cases[] = {
      {"NotAuthenticated", FaultClass::Relogin, ErrorKind::PermissionDenied, code::kSourceAuth},
      {"InvalidLogin", FaultClass::Permanent, ErrorKind::PermissionDenied, code::kSourceAuth},
      {"NoPermission", FaultClass::Permanent, ErrorKind::PermissionDenied, code::kSourceAuth},
      {"RestrictedVersion", FaultClass::Permanent, ErrorKind::Unimplemented, code::kSourceProtocol},
      {"InvalidArgument", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kSourceProtocol},
      {"InvalidProperty", FaultClass::Permanent, ErrorKind::InvalidArgument, code::kSourceProtocol},
      {"NotSupported", FaultClass::Permanent, ErrorKind::Unimplemented, code::kSourceProtocol},
      {"MethodNotFound", FaultClass::Permanent, ErrorKind::Unimplemented, code::kSourceProtocol},
      {"ManagedObjectNotFound", FaultClass::Gone, ErrorKind::NotFound, code::kVmNotFound},
      {"TaskInProgress", FaultClass::Retry, ErrorKind::Unavailable, code::kVmState},
      {"ConcurrentAccess", FaultClass::Retry, ErrorKind::Unavailable, code::kVmState},
      {"ResourceInUse", FaultClass::Retry, ErrorKind::Unavailable, code::kDiskLocked},
      {"FileLocked", FaultClass::Retry, ErrorKind::Unavailable, code::kDiskLocked},
      {"HostNotConnected", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
      {"HostCommunication", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
      {"Timedout", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
      {"RequestCanceled", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
      {"SystemError", FaultClass::Retry, ErrorKind::Unavailable, code::kSourceUnreachable},
      {"InvalidPowerState", FaultClass::State, ErrorKind::Aborted, code::kVmState},
      {"InvalidState", FaultClass::State, ErrorKind::Aborted, code::kVmState},
      {"SnapshotFault", FaultClass::Quiesce, ErrorKind::Aborted, code::kVmState},
      {"ApplicationQuiesceFault", FaultClass::Quiesce, ErrorKind::Aborted, code::kVmState},
      {"FilesystemQuiesceFault", FaultClass::Quiesce, ErrorKind::Aborted, code::kVmState},
      {"FileFault", FaultClass::File, ErrorKind::NotFound, code::kDiskMissing},
      {"CannotAccessFile", FaultClass::File, ErrorKind::NotFound, code::kDiskMissing},
      {"FileNotFound", FaultClass::File, ErrorKind::NotFound, code::kDiskMissing},
      {"OfTheFuture", FaultClass::Permanent, ErrorKind::Internal, code::kSourceProtocol},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.fault);
    const FaultRule rule = fault_rule(c.fault);
    EXPECT_EQ(rule.fault_class, c.fault_class);
    EXPECT_EQ(rule.kind, c.kind);
    EXPECT_EQ(rule.code, c.code);
    EXPECT_EQ(is_retryable(rule.kind), rule.fault_class == FaultClass::Retry ||
                                           rule.fault_class == FaultClass::State ||
                                           rule.fault_class == FaultClass::Quiesce);
  }
}

TEST(SoapTest, RefusesWhatIsNoEnvelope) {
  const std::string deep = envelope(std::string(2000, '<'));
  const std::string cases[] = {"",
                               "<html><body>503 Service Unavailable</body></html>",
                               "<e:Envelope><e:Body></e:Body></e:Envelope>",
                               "<!DOCTYPE x [<!ENTITY a 'b'>]>" + envelope("<R/>"),
                               envelope("<R>").substr(0, 60),
                               deep,
                               std::string("\0\0\0", 3)};
  for (const std::string& text : cases) {
    SCOPED_TRACE(text.substr(0, 60));
    const Result<SoapReply> reply = SoapReply::parse(text);
    ASSERT_FALSE(reply.ok());
    EXPECT_EQ(reply.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_EQ(reply.error().code(), code::kSourceProtocol);
  }
}

TEST(SoapTest, ReadsServiceContentOfAnEsxiHostWhoseManagersHaveOtherNames) {
  const ServiceContent content = service_content_of(recorded("service_content_esxi.xml"));
  EXPECT_EQ(content.session_manager, (MoRef{"SessionManager", "ha-sessionmgr"}));
  EXPECT_EQ(content.property_collector, (MoRef{"PropertyCollector", "ha-property-collector"}));
  EXPECT_EQ(content.root_folder, (MoRef{"Folder", "ha-folder-root"}));
  EXPECT_EQ(content.product, "VMware ESXi 7.0.3 build-1");
  EXPECT_FALSE(content.is_vcenter());
}

}  // namespace
}  // namespace vmferry::vmware
