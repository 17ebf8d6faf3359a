//! The controller's side, so that tests in TypeScript have a delivery service
//! that judges as the real one does.

use dt_e2ee::{ControllerKey, Refused};
use wasm_bindgen::prelude::*;

use crate::setup;

fn refused(refused: Refused) -> JsError {
    let kind = match refused {
        Refused::Stale => "stale",
        Refused::Incomplete => "incomplete",
        _ => "invalid",
    };
    JsError::new(&format!("{kind}: {refused}"))
}

/// A controller with its key and the groups that it keeps.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Controller {
    key: ControllerKey,
    keeper: Option<dt_e2ee::Keeper>,
}

#[wasm_bindgen]
impl Controller {
    /// With a fresh key and no group.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Result<Controller, JsError> {
        Ok(Self {
            key: ControllerKey::generate().map_err(crate::thrown)?,
            keeper: None,
        })
    }

    /// The external sender of its groups.
    #[wasm_bindgen(getter, js_name = publicKey)]
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public()
    }

    /// Takes a founded group.
    pub fn found(&mut self, group_id: Vec<u8>, group_info: &[u8]) -> Result<(), JsError> {
        let setup = setup(group_id, self.key.public());
        self.keeper = Some(dt_e2ee::Keeper::found(&setup, group_info).map_err(refused)?);
        Ok(())
    }

    /// Proposes to add whose key package it is.
    #[wasm_bindgen(js_name = proposeAdd)]
    pub fn propose_add(&mut self, key_package: &[u8]) -> Result<Vec<u8>, JsError> {
        let key = self.key.clone();
        self.keeper()?
            .propose_add(&key, key_package)
            .map_err(refused)
    }

    /// Proposes to remove a leaf.
    #[wasm_bindgen(js_name = proposeRemove)]
    pub fn propose_remove(&mut self, leaf: u32) -> Result<Vec<u8>, JsError> {
        let key = self.key.clone();
        self.keeper()?.propose_remove(&key, leaf).map_err(refused)
    }

    /// Judges a commit and takes it.
    pub fn apply(&mut self, commit: &[u8], group_info: &[u8]) -> Result<(), JsError> {
        self.keeper()?
            .apply(commit, group_info)
            .map(|_| ())
            .map_err(refused)
    }

    /// Takes the last commit back.
    #[wasm_bindgen(js_name = rollBack)]
    pub fn roll_back(&mut self) -> bool {
        self.keeper.as_mut().is_some_and(dt_e2ee::Keeper::roll_back)
    }

    /// GroupInfo of the present epoch.
    #[wasm_bindgen(js_name = groupInfo)]
    pub fn group_info(&mut self) -> Result<Vec<u8>, JsError> {
        Ok(self.keeper()?.group_info().to_vec())
    }

    /// The epoch.
    pub fn epoch(&mut self) -> Result<u64, JsError> {
        Ok(self.keeper()?.epoch())
    }

    /// Proposals that a commit has to cover.
    #[wasm_bindgen(js_name = openProposals)]
    pub fn open_proposals(&mut self) -> Result<usize, JsError> {
        Ok(self.keeper()?.open_proposals())
    }

    /// The leaf of a credential, if it is in the group.
    #[wasm_bindgen(js_name = leafOf)]
    pub fn leaf_of(&mut self, participant_id: &str) -> Result<Option<u32>, JsError> {
        let members = self.keeper()?.members();
        Ok(members.iter().find_map(|member| {
            dt_e2ee::read_credential(&member.identity, &member.signature_key)
                .is_ok_and(|identity| identity.participant_id == participant_id)
                .then_some(member.leaf)
        }))
    }

    fn keeper(&mut self) -> Result<&mut dt_e2ee::Keeper, JsError> {
        self.keeper
            .as_mut()
            .ok_or_else(|| JsError::new("there is no group"))
    }
}
