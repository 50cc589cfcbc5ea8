//! What an administrator sees of a group.

use super::Group;
use crate::{Described, DescribedMember, GroupState, Listed};

impl Group {
    /// ListGroups.
    pub fn listed(&self) -> Listed {
        Listed {
            group: self.name.clone(),
            protocol_type: self.protocol_type.clone(),
            state: self.state,
        }
    }

    /// DescribeGroups. Metadata and assignments are shown only while they hold.
    pub fn described(&self) -> Described {
        let stable = self.state == GroupState::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(&protocol).filter(|_| stable).unwrap_or_default(),
            assignment: if stable { member.assignment.clone() } else { Default::default() },
        });
        Described {
            group: self.name.clone(),
            state: self.state,
            protocol_type: self.protocol_type.clone(),
            members: members.collect(),
            protocol,
        }
    }
}
